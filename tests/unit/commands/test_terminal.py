from __future__ import annotations

import io
from pathlib import Path

import pytest

from triptych.commands.terminal import (
    InertConsole,
    build_table,
    errors,
    explain_page,
    print_table,
    print_words,
    terminal,
)
from triptych.system.addresses import local_uri
from triptych.system.paths import project_root


def test_the_page_is_started_by_make_only_where_there_is_a_makefile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local_uri())
    assert (project_root() / "Makefile").is_file()
    assert explain_page() == "start the server with `make ui`"
    monkeypatch.setattr("triptych.commands.terminal.project_root", lambda: tmp_path)
    assert explain_page() == f"start the server with `mlflow server --backend-store-uri {local_uri()}`"


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("http://127.0.0.1:5000", "in MLflow"),
        ("postgresql://ann:secret@db/runs", "`mlflow server --backend-store-uri 'postgresql://ann:***@db/runs'`"),
        ("sqlite:////my runs/mlflow.db", "`mlflow server --backend-store-uri 'sqlite:////my runs/mlflow.db'`"),
    ],
)
def test_a_password_is_not_printed(uri: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert text in explain_page()


@pytest.mark.parametrize("console", [terminal, errors])
def test_names_from_outside_are_only_text(console: InertConsole) -> None:
    hostile = "\x1b[2J\x07[bold]a[/no such tag] \x9b31m {b} \u202ec"
    with console.capture() as captured:
        for shown in (hostile, build_table(hostile, [{"panel": hostile, "images": hostile}])):
            console.print(shown, style="red", soft_wrap=True)
    text = captured.get()
    assert r"\x1b[2J" in text
    assert "[bold]a[/no such tag]" in text
    assert not [one for one in text if not one.isprintable() and one != "\n"]


ROWS = [
    {
        "panel": label,
        "accuracy": "0.5654",
        "interval": "0.4829-0.6382",
        "std": "0.1525",
        "fit\ntime (s)": "1120.43",
        "embedding\ntime (s)": "199.50*",
    }
    for label in ("vgg16 (random weights)", "logistic-regression")
]


@pytest.mark.parametrize(
    ("width", "left_out"), [(120, []), (80, []), (60, ["fit time (s)", "embedding time (s)"]), (20, [*ROWS[0]][1:])]
)
def test_a_table_that_is_too_narrow_leaves_out_whole_columns_and_names_them(width: int, left_out: list[str]) -> None:
    console = InertConsole(file=io.StringIO(), width=width, markup=False)
    console.print(build_table("board", ROWS, width))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    shown = {heading: cell for heading, cell in ROWS[0].items() if " ".join(heading.split()) not in left_out}
    if width > 20:
        assert all(cell in printed for cell in shown.values())
        assert max(map(len, printed.splitlines())) <= width
    rest = " ".join(printed.partition("too narrow for: ")[2].split())
    assert rest == ", ".join(" ".join(heading.split()) for heading in left_out)


def test_a_row_that_does_not_compete_is_set_apart() -> None:
    console = InertConsole(file=io.StringIO(), width=80)
    console.print(build_table("board", [*ROWS, ROWS[0] | {"panel": "ensemble"}], 80, apart=True))
    assert isinstance(console.file, io.StringIO)
    *_, before, last = console.file.getvalue().rstrip().splitlines()
    assert (before.strip(), last.split()[0]) == ("", "ensemble")


def test_a_pipe_has_the_table_alone(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("board", ROWS)
    print_words("a verdict " * 20, style="bold")
    piped = capsys.readouterr()
    assert piped.out.splitlines()[0].strip() == "board"
    assert piped.out.count("0.4829-0.6382") == 2
    assert piped.err == "a verdict " * 20 + "\n"


def test_what_rich_itself_sends_to_a_terminal_stays() -> None:
    file = io.StringIO()
    console = InertConsole(file=file, force_terminal=True, color_system="standard", markup=False, highlight=False)
    console.print("\x1b[2Ja", style="red")
    assert file.getvalue() == "\x1b[31m\\x1b[2Ja\x1b[0m\n"

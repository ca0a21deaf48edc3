from __future__ import annotations

import io
from pathlib import Path

import pytest

from triptych.commands.terminal import InertConsole, build_table, errors, explain_page, terminal
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


def test_what_rich_itself_sends_to_a_terminal_stays() -> None:
    file = io.StringIO()
    console = InertConsole(file=file, force_terminal=True, color_system="standard", markup=False, highlight=False)
    console.print("\x1b[2Ja", style="red")
    assert file.getvalue() == "\x1b[31m\\x1b[2Ja\x1b[0m\n"

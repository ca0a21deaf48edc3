from __future__ import annotations

import io
import time
from contextlib import suppress

import pytest
from rich.console import Console

from triptych.errors import ConfigError
from triptych.system import progress
from triptych.system.progress import Display, Work, show_progress, tracking


@pytest.mark.parametrize("width", [60, 80, 120])
def test_names_counts_and_times_are_readable_at_every_width(width: int) -> None:
    now = time.monotonic()
    display = Display(Console(file=io.StringIO(), width=width, force_terminal=True))
    name = "embed vgg16 (random weights), mobilenet_v2"
    work = Work(name, started=now - 754, done=12_345, total=60_000, detail="12 damaged file(s) computed again")
    work.first = (345, now - 600)
    display.begin(work)
    [line] = "".join(segment.text for segment in display.console.render(display.render())).splitlines()
    assert len(line) <= width
    assert line.startswith("embed vgg16")
    for words in ("12,345/60,000", "12:34", *(["20/s", "39:4"] if width >= 80 else [])):
        assert words in line
    assert ("━━" in line) is (width >= 100)


def test_what_has_ended_is_a_line_that_fits_eighty_columns() -> None:
    work = Work("check digits", started=0.0, done=1797, total=1797, detail="1005 train, 252 validation, 540 test")
    line = work.describe(7.0, ended=True)
    assert line == f"{'check digits':<26}     1,797  0:07  1005 train, 252 validation, 540 test"
    assert len(line) <= 80
    assert work.describe(7.0, "check digits".index("d"), ended=True).startswith("check…")


def test_what_is_stored_already_does_not_count_for_the_forecast() -> None:
    work = Work("embed", started=0.0, done=1100, total=1200, first=(1000, 10.0))
    assert work.find_rate(20.0) == 10.0
    assert "10/s, 0:10 left" in work.describe(20.0)
    assert Work("embed", started=0.0, done=10, total=20, first=(0, 0.0)).find_rate(1.0) == 0.0, "too early to say"


@pytest.mark.parametrize(("running", "silent", "due"), [(4, 4, False), (6, 6, True), (6, 3, False), (900, 40, False)])
def test_long_work_is_not_silent_for_long(running: float, silent: float, *, due: bool) -> None:
    assert Work("train", started=1000.0 - running, printed=1000.0 - silent).is_due(1000.0) is due


def show(*, terminal: bool) -> str:
    """Return what is shown of two pieces of work; only the first is said to have ended."""
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal)
    with show_progress(console), tracking("embed") as move, tracking("register", passing=True):
        move(3, 7, "shuffled")
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_terminal_shows_what_is_going_on() -> None:
    [ended, *_] = show(terminal=True).splitlines()
    assert ended.endswith(f"{'embed':<33}       3/7  0:00  shuffled")


def test_elsewhere_there_are_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(terminal=False) == f"{'embed':<26}       3/7  0:00  shuffled\n"
    monkeypatch.setattr(progress, "SHORTEST_SILENCE", 0.01)
    console = Console(file=io.StringIO(), width=100)
    with show_progress(console), tracking("choose number formats", passing=True):
        time.sleep(0.05)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert {*lines} == {f"{'choose number formats':<36}  0:00"}


def test_of_a_command_that_refuses_its_input_the_error_is_all() -> None:
    console = Console(file=io.StringIO())
    with suppress(ConfigError), show_progress(console):
        with tracking("check digits") as move:
            move(1797, 1797)
        raise ConfigError
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_without_a_display_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with tracking("embed") as move:
        move(3, 7, "")
    assert capsys.readouterr() == ("", "")

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console
from rich.live import _RefreshThread

from triptych.system.progress import show_progress, track


def test_a_bar_shows_how_much_is_done() -> None:
    terminal = io.StringIO()
    console = Console(file=terminal, width=100, force_terminal=True)
    with show_progress(console):
        move = track("embed")
        move(3, 7, "shuffled")
    printed = terminal.getvalue()
    assert "embed" in printed
    assert "3/7" in printed
    assert "shuffled" in printed


def test_a_file_gets_only_the_last_state() -> None:
    console = Console(file=io.StringIO(), width=100)
    with show_progress(console):
        assert not any(isinstance(thread, _RefreshThread) for thread in threading.enumerate())
        track("embed")(7, 7, "shuffled")
    assert console.file.getvalue().count("embed") == 1  # type: ignore[attr-defined]


def test_without_a_display_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    track("embed")(3, 7, "")
    assert capsys.readouterr() == ("", "")

"""Showing the progress of long work in the terminal, one bar for each piece of work, drawn by rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class OnProgress(Protocol):
    """A function that is called as work advances."""

    def __call__(self, done: int, total: int, detail: str) -> None:
        """Show that `done` of `total` units are finished.

        Args:
            done: units finished so far.
            total: units in all.
            detail: a few words to show beside them.
        """


# The display of the command line. A worker has none: its progress is on Prefect's page.
_display: ContextVar[Progress | None] = ContextVar("display", default=None)


@contextmanager
def show_progress(console: Console) -> Iterator[None]:
    """Draw a bar for each piece of work that is tracked while the block runs, in this context and copies of it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[detail]}"),
    )
    # Elsewhere than in a terminal only the last state is printed.
    with Progress(*columns, console=console, auto_refresh=console.is_terminal) as display:
        token = _display.set(display)
        try:
            yield
        finally:
            _display.reset(token)


def track(description: str) -> OnProgress:
    """Add a bar to the display, if there is one, and return the function that moves it."""
    display = _display.get()
    if display is None:
        return lambda done, total, detail: None
    bar = display.add_task(description, total=None, detail="")

    def move(done: int, total: int, detail: str) -> None:
        display.update(bar, completed=done, total=total, detail=detail)

    return move

"""Output that all commands share: tables, links, errors, exit codes."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from triptych.errors import escape_controls, hide_passwords
from triptych.system.addresses import local_uri, tracking_uri
from triptych.system.paths import project_root

EXIT_INPUT, EXIT_FAILURE, EXIT_INTERRUPTED = 2, 1, 130


class InertConsole(Console):
    """A console on which names from outside are only text: they have no markup, and no control over the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the segments of a renderable, with the control characters spelled out that rich has not made itself."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment("\n".join(map(escape_controls, text.split("\n"))), style)


terminal = InertConsole(markup=False)
errors = InertConsole(stderr=True, soft_wrap=True, highlight=False, markup=False)


class LineHandler(logging.Handler):
    """Prints warnings of this package, such as of a damaged file, as one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning."""
        errors.print(f"triptych: {record.getMessage()}")


line_handler = LineHandler(logging.WARNING)


@contextmanager
def explain_interrupt() -> Iterator[None]:
    """Turn an interrupt of the block into one line and its exit code."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        errors.print("triptych: interrupted; open runs were closed, run the same command again to continue")
        raise typer.Exit(EXIT_INTERRUPTED) from interrupt


def build_table(title: str, rows: list[dict[str, str]]) -> Table:
    """Return a table: panels left-aligned, numbers right-aligned, nothing truncated."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in rows[0] if rows else ("no panel was trained",):
        left = column == "panel"
        table.add_column(column, justify="left" if left else "right", no_wrap=left, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    return table


def explain_champion(name: str) -> list[str]:
    """Return how other programs load the champion of a board, which plain MLflow finds only by the store's address.

    Without a champion there is nothing to explain.
    """
    from triptych.tracking.registry.versions import find_champion

    if find_champion(name) is None:
        return []
    return [
        f'In other programs: mlflow.pyfunc.load_model("models:/{name}@champion"), after',
        f"export MLFLOW_TRACKING_URI={shlex.quote(hide_passwords(tracking_uri()))}",
    ]


def explain_page() -> str:
    """Return where the links lead, or how to start the server that they need."""
    uri = tracking_uri()
    if uri.startswith("http"):
        return "in MLflow"
    by_make = uri == local_uri() and (project_root() / "Makefile").is_file()
    server = "make ui" if by_make else f"mlflow server --backend-store-uri {shlex.quote(hide_passwords(uri))}"
    return f"start the server with `{server}`"

"""Output that all commands share: tables, links, errors, exit codes."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from triptych.errors import escape_controls, hide_passwords
from triptych.system.addresses import local_uri, tracking_uri
from triptych.system.paths import project_root

EXIT_INPUT, EXIT_FAILURE, EXIT_INTERRUPTED = 2, 1, 130
# How a table is laid out, the widest first: characters between columns, and how their headings are broken into lines.
WIDE_GAP, NARROW_GAP = 3, 2
LAYOUTS: tuple[tuple[int, Callable[[str], list[str]]], ...] = (
    (WIDE_GAP, str.splitlines),
    (WIDE_GAP, str.split),
    (NARROW_GAP, str.splitlines),
    (NARROW_GAP, str.split),
)
# Headings of columns of text, which begin on the left.
LEFT = ("panel", "network", "weights here", "to download")
# More characters than any of our tables has in a line.
PIPE_WIDTH = 1000


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


def build_table(title: str, rows: list[dict[str, str]], width: int | None = None, *, apart: bool = False) -> Table:
    """Return a table: panels left-aligned, numbers right-aligned, no cell cut off or broken.

    Where it is too narrow, headings are broken and columns move closer together; then columns on the right are left
    out, and named below.

    Args:
        title: the line above it.
        rows: the cells by heading; the most important columns first.
        width: characters of a line; None: as many as it needs.
        apart: whether the last row is set apart from the others, with which it does not compete.
    """
    columns = {heading: [escape_controls(row[heading]) for row in rows] for heading in (rows[0] if rows else ())}
    widths, gap = _fit_columns(columns, width)
    left_out = ", ".join(" ".join(heading.split()) for heading in columns if heading not in widths)
    table = Table(
        title=title,
        title_justify="left",
        caption=f"too narrow for: {left_out}" if left_out else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=gap == NARROW_GAP,
    )
    for heading in widths or ("no panel was trained",):
        table.add_column(heading, justify="left" if heading in LEFT else "right", width=widths.get(heading))
    for number, cells in enumerate(zip(*(columns[heading] for heading in widths), strict=True), start=1):
        last = apart and number == len(rows)
        table.add_row(*cells, style="italic" if last else None, end_section=apart and number == len(rows) - 1)
    return table


def _fit_columns(columns: Mapping[str, Sequence[str]], width: int | None) -> tuple[dict[str, int], int]:
    """Return the widths of the columns that fit on a line, and the gap between them."""
    shown = [*columns]
    while True:
        for gap, divide in LAYOUTS:
            widths = {one: max(map(cell_len, [*columns[one], *divide(one)])) for one in shown}
            # With a space on the left and on the right.
            if width is None or len(shown) <= 1 or sum(widths.values()) + gap * (len(widths) - 1) + 2 <= width:
                return widths, gap
        shown.pop()


def print_table(title: str, rows: list[dict[str, str]], *, apart: bool = False) -> None:
    """Print a table: as wide as the terminal allows, and in a pipe as wide as it is."""
    if terminal.is_terminal:
        terminal.print(build_table(title, rows, terminal.width, apart=apart))
    else:
        InertConsole(markup=False, width=PIPE_WIDTH).print(build_table(title, rows, apart=apart))


def print_words(*lines: str, style: str | None = None, whole: bool = False) -> None:
    """Print what is to be said of a table: below it in a terminal; where stdout is a pipe, it has the table alone.

    Args:
        lines: what is printed.
        style: of rich.
        whole: whether they hold something to copy, which a line break would damage.
    """
    for line in lines:
        if terminal.is_terminal:
            terminal.print(line, highlight=False, style=style, soft_wrap=whole)
        else:
            errors.print(line)


def print_link(text: str, address: str) -> None:
    """Print the address of a page or a file, after a line that says what it is."""
    print_words(text, whole=True)
    print_words(address, style="cyan", whole=True)


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

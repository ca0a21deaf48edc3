"""How the terminal shows the examination of a data set."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from triptych.data.checks.findings import SEVERITIES, Examination, Example, Finding, ImageName
from triptych.errors import escape_controls

FEW = 10
# Of the images of a group.
FEW_IN_GROUP = 5
STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
SIGNS = {"similar": "~", "similar_in_parts": "~"}


def print_examination(console: Console, examination: Examination, *, everything: bool) -> None:
    """Print the classes, then the findings, worst first.

    Args:
        console: the terminal to print to.
        examination: what was found.
        everything: print every class and example instead of the first few.
    """
    limit = None if everything else FEW
    counted = f"{examination.images:,} images in {len(examination.classes)} classes"
    console.print(_plain(f"{examination.data}: {counted}, parts as in the split", style="bold"))
    console.print(_tabulate_classes(examination, limit))
    for severity in SEVERITIES:
        findings = examination.of(severity)
        if findings:
            console.print(Text(f"{severity}s ({len(findings)})", style=STYLES[severity]))
        for finding in findings:
            _print_finding(console, finding, limit)
    verdict = "nothing prevents training" if examination.can_train else "training would refuse the data"
    console.print(_plain(f"{examination.data}: {verdict}", style="bold"))


def _plain(text: str, **options: Any) -> Text:
    """Return a text with names of files, which may hold line breaks, as one line."""
    return Text(escape_controls(text), **options)


def _tabulate_classes(examination: Examination, limit: int | None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    parts = next(iter(examination.classes.values()))
    table.add_column("class", overflow="fold")
    for part in parts:
        table.add_column(part or "images", justify="right")
    rows = list(examination.classes.items())
    for name, counts in rows[:limit]:
        table.add_row(_plain(name), *(f"{number:,}" for number in counts.values()))
    if len(rows) > len(rows[:limit]):
        table.add_row(Text(f"and {len(rows) - len(rows[:limit]):,} more (--all)"))
    return table


def _print_finding(console: Console, finding: Finding, limit: int | None) -> None:
    lines = Table.grid(padding=(0, 1))
    lines.add_row("-", _plain(finding.message))
    shown = finding.examples[:limit]
    for example in shown:
        text = describe_example(example, SIGNS.get(finding.kind, "="), None if limit is None else FEW_IN_GROUP)
        lines.add_row("", _plain(text, style="dim", overflow="fold"))
    if len(finding.examples) > len(shown):
        lines.add_row("", Text(f"and {len(finding.examples) - len(shown):,} more (--all)", style="dim"))
    console.print(Padding(lines, (0, 0, 0, 2)))


def describe_example(example: Example, sign: str = "=", limit: int | None = None) -> str:
    """Return an example in one line, with a sign between the images of a group.

    Args:
        example: some images.
        sign: what they are to each other.
        limit: how many of them to name; None: all.

    >>> describe_example(Example((ImageName("a/1.jpg", "a", "train"), ImageName("b/2.jpg", "b", "test"))))
    'a/1.jpg (a, train) = b/2.jpg (b, test)'
    """
    shown = example.images[:limit]
    names = [image.name if len(example.images) == 1 else _describe_image(image) for image in shown]
    more = len(example.images) - len(shown)
    group = f" {sign} ".join(names) + (f" and {more:,} more (--all)" if more else "")
    return ": ".join(text for text in (group, example.detail) if text)


def _describe_image(image: ImageName) -> str:
    return f"{image.name} ({', '.join(word for word in (image.label, image.part) if word)})"

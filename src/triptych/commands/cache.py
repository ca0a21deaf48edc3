"""The commands that look after the cache."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from triptych.commands.terminal import terminal
from triptych.errors import ConfigError

if TYPE_CHECKING:
    from triptych.system.cache import CacheEntry

CACHE_EXAMPLES = """
List what the cache holds: embeddings, trainings, prepared data sets and splits.

Examples:

    triptych cache

    triptych cache prune --older-than 30
"""
PRUNE_EXAMPLES = """
Delete what was not used for some days and can be computed again; downloaded data sets and studies stay.

Examples:

    triptych cache prune

    triptych cache prune --older-than 7 --kind embeddings --kind trainings --yes
"""


def cache(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print every entry as JSON, for other programs.")] = False,
) -> None:
    """Print the entries of the cache, unless a subcommand follows."""
    from triptych.system.cache import MEBIBYTE, list_cache
    from triptych.system.paths import cache_home

    if context.invoked_subcommand:
        return
    entries = list_cache()
    if as_json:
        print(json.dumps([entry.as_row() for entry in entries], indent=2))
        return
    terminal.print(_tabulate_cache(entries))
    size = sum(entry.size_bytes for entry in entries) / MEBIBYTE
    terminal.print(f"{size:,.1f} MiB in {cache_home()}", soft_wrap=True, highlight=False)


def _tabulate_cache(entries: list[CacheEntry]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("kind", "of", "images", "MiB", "last used"):
        left = column in {"kind", "of"}
        table.add_column(column, justify="left" if left else "right", no_wrap=column == "kind", overflow="fold")
    for entry in entries:
        row = entry.as_row()
        images = "-" if entry.images is None else f"{entry.images:,}"
        age = f"{row['unused_days']:.0f} days ago" if row["unused_days"] >= 1 else "today"
        table.add_row(entry.kind, entry.details, images, f"{row['mebibytes']:,.1f}", age)
    return table


def prune(
    older_than: Annotated[float, typer.Option(help="Days since the last use; 0 deletes all.")] = 30.0,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only these: embeddings, trainings, datasets or splits. Repeatable.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Say what would go, ask, and delete it."""
    from triptych.system.cache import MEBIBYTE, delete_files, list_cache, select_unused

    files = select_unused(list_cache(kind or ()), older_than)
    found = f"{len(files)} file(s), {sum(file.size_bytes for file in files) / MEBIBYTE:,.1f} MiB"
    unused = f"not used for {older_than:g} days"
    if not files:
        terminal.print(f"nothing in the cache was {unused}", highlight=False)
    elif not yes and not sys.stdin.isatty():
        raise ConfigError(f"{found} in the cache {unused}: nobody can be asked here, so --yes is needed to delete them")
    elif yes or typer.confirm(f"Delete {found} {unused}?"):
        delete_files(files)
        terminal.print(f"deleted {found} {unused}", highlight=False)

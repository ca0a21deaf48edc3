"""The commands that list and prune the cache."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from triptych.commands.options import DebugOption
from triptych.commands.terminal import terminal
from triptych.errors import ConfigError
from triptych.system.environment import apply_environment

if TYPE_CHECKING:
    from triptych.system.cache import CacheEntry, CacheFile

CACHE_EXAMPLES = """
List the contents of the cache, such as embeddings, trainings, prepared data sets and reports.

Examples:

    triptych cache

    triptych cache prune --older-than 30
"""
PRUNE_EXAMPLES = """
Delete files of the cache that have not been used for some days.

All of them can be made again; downloaded data sets and studies are kept. Links are deleted, not what they lead to.

Examples:

    triptych cache prune

    triptych cache prune --older-than 7 --kind embeddings --kind trainings --yes
"""


def cache(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print every entry as JSON.")] = False,
    debug: DebugOption = False,
) -> None:
    """Print the entries of the cache, unless there is a subcommand."""
    apply_environment(quiet=not debug)
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
    for column in ("kind", "contents", "images", "MiB", "last used"):
        left = column in {"kind", "contents"}
        table.add_column(column, justify="left" if left else "right", no_wrap=column == "kind", overflow="fold")
    for entry in entries:
        row = entry.as_row()
        images = "-" if entry.images is None else f"{entry.images:,}"
        age = f"{row['unused_days']:.0f} days ago" if row["unused_days"] >= 1 else "today"
        table.add_row(entry.kind, entry.details, images, f"{row['mebibytes']:,.1f}", age)
    return table


def prune(
    older_than: Annotated[
        float, typer.Option(metavar="DAYS", help="Delete what was not used for this many days; 0 deletes all.")
    ] = 30.0,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Delete only these, such as embeddings, thumbnails, trainings or reports. Repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    debug: DebugOption = False,
) -> None:
    """Print what would be deleted, ask for confirmation, and delete it."""
    apply_environment(quiet=not debug)
    from triptych.system.cache import delete_files, list_cache, select_unused

    files = select_unused(list_cache(kind or ()), older_than)
    found = _count(files)
    if not files:
        terminal.print(f"everything in the cache was used within {older_than:g} days", highlight=False)
    elif not yes and not sys.stdin.isatty():
        raise ConfigError(f"{found} to delete, but there is no terminal to ask for confirmation: add --yes")
    elif yes or typer.confirm(f"Delete {found}, not used for {older_than:g} days?"):
        # Whatever was used while the question was open stays.
        files = select_unused(list_cache(kind or ()), older_than)
        delete_files(files)
        terminal.print(f"deleted {_count(files)}", highlight=False)


def _count(files: list[CacheFile]) -> str:
    from triptych.system.cache import MEBIBYTE

    return f"{len(files)} file(s), {sum(file.size_bytes for file in files) / MEBIBYTE:,.1f} MiB"

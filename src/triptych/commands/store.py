"""The commands for the tracking store: how large it is, what of it is deleted, and where its artifacts are."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from triptych.commands.inspect import read_span
from triptych.commands.options import DebugOption
from triptych.commands.terminal import errors, terminal
from triptych.errors import ConfigError, hide_passwords
from triptych.system.addresses import sqlite_file, tracking_uri
from triptych.system.environment import apply_environment

if TYPE_CHECKING:
    from triptych.tracking.retention import Old

# What `--keep` takes besides a span.
CHAMPIONS, VERSIONS = "champions", "versions"

STORE_EXAMPLES = """
Show what the tracking store, Prefect's home and the cache hold, and what a night adds.

Examples:

    triptych store

    triptych store prune --keep-last 30 --keep champions --keep 90d
"""
PRUNE_EXAMPLES = """
Delete old comparisons with their panels, studies with their trials, and learning curves, through MLflow.

Without --yes it only lists them. What is running stays, and what a registered version needs that is kept.

Examples:

    triptych store prune

    triptych store prune --keep-last 30 --keep champions --keep 90d --yes
"""
MOVE_EXAMPLES = """
Record where the artifacts are, after the store was moved or copied.

The file of the store holds absolute addresses. They are replaced; the file as it was is kept beside it.

Examples:

    triptych store move

    MLFLOW_TRACKING_URI=sqlite:////backup/mlflow/mlflow.db triptych store move
"""


def move(debug: DebugOption = False) -> None:
    """Replace the addresses of the artifacts."""
    apply_environment(quiet=not debug)
    from triptych.tracking.store import move_store

    uri = tracking_uri()
    if not uri.startswith("sqlite"):
        raise ConfigError(f"MLFLOW_TRACKING_URI={hide_passwords(uri)} is no SQLite file: only those can be moved")
    file = sqlite_file(uri)
    if not file.is_file():
        raise ConfigError(f"there is no store {file}: set MLFLOW_TRACKING_URI=sqlite:////FOLDER/mlflow.db")
    moved = move_store(file)
    for old, new in moved.items():
        terminal.print(f"{old} -> {new}", soft_wrap=True, highlight=False)
    if not moved:
        terminal.print(f"nothing to do: the artifacts of {file} are where it says", soft_wrap=True, highlight=False)


def store(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print the same in bytes as JSON.")] = False,
    debug: DebugOption = False,
) -> None:
    """Print sizes, unless there is a subcommand."""
    if context.invoked_subcommand:
        return
    apply_environment(quiet=not debug)
    from triptych.system.cache import MEBIBYTE, measure_cache
    from triptych.system.files import measure_folder
    from triptych.tracking.client import connect
    from triptych.tracking.retention import measure_store

    sizes = measure_store(connect())
    parts = {f"MLflow, {part}": size for part, size in sizes.parts.items()}
    parts["Prefect's home"] = measure_folder(Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser())
    parts |= {f"cache, {kind}": size for kind, size in measure_cache().items()}
    if as_json:
        print(json.dumps({"bytes": parts, "bytes_a_night": sizes.nights}, indent=2))
        return
    table = Table("part", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("MiB", justify="right")
    for part, size in parts.items():
        table.add_row(part, f"{size / MEBIBYTE:,.1f}")
    terminal.print(hide_passwords(tracking_uri()), soft_wrap=True, highlight=False)
    terminal.print(table)
    for board, size in sizes.nights.items():
        terminal.print(f"{board}: a comparison adds {size / MEBIBYTE:,.1f} MiB of artifacts", highlight=False)


def prune(
    keep_last: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="NUMBER",
            help="Keep the last comparisons, studies and learning curves of each board.",
        ),
    ] = 30,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="Keep what ended within a span such as 90d. Of the registered versions keep all (versions, the "
            "default), or only champions, former champions, those that wait for approval or have an alias, and the "
            "newest of each model (champions). Repeatable.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete what is listed.")] = False,
    debug: DebugOption = False,
) -> None:
    """Print what would be deleted, or delete it."""
    apply_environment(quiet=not debug)
    words = set(keep or ())
    spans = [_read_keep(word) for word in words - {CHAMPIONS, VERSIONS}]
    from triptych.system.cache import MEBIBYTE
    from triptych.tracking.client import connect
    from triptych.tracking.retention import Keep, find_unused_trunks, list_entries, measure_addresses, select_old

    client = connect()
    versions = CHAMPIONS not in words or VERSIONS in words
    found = select_old(client, list_entries(client), Keep(keep_last, max(spans, default=None), versions=versions))
    listed = {_describe_old(old): measure_addresses(old.entry.addresses) for old in found}
    for trunk in find_unused_trunks(client, found):
        listed[f"frozen network {trunk.name}, which no model uses"] = measure_addresses([trunk.artifact_location])
    for line, used in listed.items():
        terminal.print(f"{line}, {used / MEBIBYTE:,.1f} MiB", highlight=False, soft_wrap=True)
    size = sum(listed.values()) / MEBIBYTE
    total = f"{len(found)} old comparisons, studies and learning curves, {size:,.1f} MiB of artifacts"
    if not yes:
        terminal.print(f"{total}; nothing is deleted without --yes", highlight=False, soft_wrap=True)
        return
    terminal.print(f"{total}: {_delete(found)} deleted", highlight=False, soft_wrap=True)


def _read_keep(word: str) -> timedelta:
    try:
        return read_span(word)
    except ConfigError as error:
        raise ConfigError(
            f"--keep {word!r} is not allowed: give {CHAMPIONS}, {VERSIONS} or a span such as 90d"
        ) from error


def _describe_old(old: Old) -> str:
    entry = old.entry
    ended = datetime.fromtimestamp(entry.ended / 1000, UTC).astimezone()
    versions = "".join(f", version {version} of {name}" for name, version in old.versions)
    return f"{entry.board}, {entry.role} {entry.name} of {ended:%Y-%m-%d}: {len(entry.runs)} run(s){versions}"


def _delete(found: list[Old]) -> int:
    """Delete old entries; return the number of those that were."""
    from triptych.system.progress import show_progress, tracking
    from triptych.tracking.client import connect
    from triptych.tracking.retention import can_collect, collect_left, delete_old, delete_trunks, find_unused_trunks
    from triptych.tracking.store import compact_store

    client, deleted = connect(), 0
    collect_left(client)
    with show_progress(errors), tracking("delete") as move:
        for position, old in enumerate(found, start=1):
            deleted += delete_old(client, old)
            move(position, len(found), old.entry.name)
    delete_trunks(client, list(find_unused_trunks(client)))
    uri = tracking_uri()
    if uri.startswith("sqlite"):
        compact_store(sqlite_file(uri))
    if not can_collect():
        terminal.print("`mlflow gc` on the machine of the server frees the space", highlight=False)
    return deleted

"""Which comparisons, studies and learning curves are kept, and which are old."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import mlflow
from mlflow.entities.model_registry import ModelVersion

from triptych.tracking.registry.champions import WAITING
from triptych.tracking.retention.entries import Entry, read_pages
from triptych.tracking.tags import APPROVAL, PREVIOUS, SINCE, read_tags

# The id of a run, and what follows the m- of a logged model's.
ID = re.compile(r"[0-9a-f]{32}")
# The source of a version that was registered from another one.
COPIED = re.compile(r"models:/(?P<name>[^/]+)/(?P<version>[0-9]+)")


@dataclass(frozen=True)
class Keep:
    """What is kept, whatever else is.

    Attributes:
        last: the last comparisons of each board, and as many of its studies and learning curves.
        span: what ended since then; None keeps nothing for its age.
        versions: whether all registered versions are kept, with the comparisons that they need. Otherwise only those
            are that are or were champion, wait for approval, have an alias or are the newest of their model.
    """

    last: int = 30
    span: timedelta | None = None
    versions: bool = True


@dataclass(frozen=True)
class Old:
    """A comparison or a study that is not kept.

    Attributes:
        entry: the comparison or the study.
        versions: its registered versions as (name, number), which are not kept either.
    """

    entry: Entry
    versions: tuple[tuple[str, str], ...]


def select_old(client: mlflow.MlflowClient, entries: Sequence[Entry], keep: Keep) -> list[Old]:
    """Return the entries that are not kept; what is running always is.

    Args:
        client: of the tracking store.
        entries: all of the store, the newest of each board first.
        keep: what is kept.
    """
    versions = list(read_pages(client.search_model_versions))
    kept = versions if keep.versions else _select_champions(client, versions)
    needs_of = dict(zip(map(id, versions), list_needs(versions), strict=True))
    needed = {needs for version in kept for needs in needs_of[id(version)]}
    since = time.time() - keep.span.total_seconds() if keep.span else float("inf")
    named: dict[str, set[tuple[str, str]]] = {}
    for version in versions:
        for needs in needs_of[id(version)]:
            named.setdefault(needs, set()).add((str(version.name), str(version.version)))
    seen: dict[tuple[str, str], int] = {}
    left = []
    for entry in entries:
        place = seen[entry.board, entry.role] = seen.get((entry.board, entry.role), 0) + 1
        aged = not (entry.running or place <= keep.last or entry.ended / 1000 >= since)
        if aged and _list_own(entry).isdisjoint(needed):
            left.append(entry)
    return [
        Old(entry, tuple(sorted({one for part in _list_own(entry) for one in named.get(part, ())})))
        for entry in _leave_out_shared(entries, left)
    ]


def _list_own(entry: Entry) -> set[str]:
    """Return the ids of the runs and of the logged models of an entry, the latter without their m-."""
    return {*entry.runs, *(model.removeprefix("m-") for model in entry.models)}


def _leave_out_shared(entries: Sequence[Entry], old: list[Entry]) -> list[Entry]:
    """Return the old entries without those whose runs others that are kept share."""
    while True:
        kept = {id(entry) for entry in entries} - {id(entry) for entry in old}
        shared = {run_id for entry in entries if id(entry) in kept for run_id in entry.shares}
        left = [entry for entry in old if shared.isdisjoint(entry.runs)]
        if len(left) == len(old):
            return left
        old = left


def _select_champions(client: mlflow.MlflowClient, versions: Sequence[ModelVersion]) -> list[ModelVersion]:
    """Return the versions that are or were champion, that wait, that have an alias or are the newest of their model."""
    chosen = {
        (model.name, str(number))
        for model in read_pages(client.search_registered_models)
        for number in model.aliases.values()
    }
    newest: dict[str, int] = {}
    for version in versions:
        newest[version.name] = max(newest.get(version.name, 0), int(version.version))
        if previous := read_tags(version).get(PREVIOUS):
            chosen.add((version.name, previous))
    chosen |= {(name, str(number)) for name, number in newest.items()}
    return [
        version
        for version in versions
        if (version.name, str(version.version)) in chosen
        or SINCE in (tags := read_tags(version))
        or tags.get(APPROVAL) == WAITING
    ]


def list_needs(versions: Sequence[ModelVersion]) -> list[set[str]]:
    """Return for each version the ids of its run and of its logged model, the latter without its m-.

    A version that was registered from another one, `models:/NAME/VERSION`, needs what that one does.
    """
    known = {(str(version.name), str(version.version)): version for version in versions}

    def follow(version: ModelVersion, depth: int) -> set[str]:
        source = str(version.source)
        needs = {str(version.run_id), *ID.findall(source)}
        copied = COPIED.fullmatch(source)
        original = known.get((copied["name"], copied["version"])) if copied else None
        return needs | follow(original, depth - 1) if original and depth else needs

    return [follow(version, len(versions)) for version in versions]

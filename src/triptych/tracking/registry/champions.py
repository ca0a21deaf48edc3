"""The champion of each board: who challenges it, who replaces it, and how that is undone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from triptych.data.boards import PreparedBoard
from triptych.errors import ConfigError, DamagedFileError
from triptych.evaluation.pairs import join_words
from triptych.evaluation.promotion import Promotion, judge
from triptych.evaluation.report import EvaluatedPanel
from triptych.tracking.artifacts import load_logged_predictions
from triptych.tracking.client import connect
from triptych.tracking.leases import FREE, Lease
from triptych.tracking.registry.versions import (
    CHAMPION,
    find_champion,
    find_version,
    register_version,
)
from triptych.tracking.tags import (
    DECISION,
    LEASE,
    PREFIX,
    PREVIOUS,
    SPLIT_ID,
    read_tags,
)

MAX_TAG_LENGTH = 5000
# A decision takes a second or two; one that takes longer was given up.
DECISION_SECONDS, SECONDS_BETWEEN_CHECKS = 60.0, 0.1


def register_panel(prepared: PreparedBoard, panel: EvaluatedPanel) -> None:
    """Register the model of a panel under `BOARD-PANEL`."""
    register_version(f"{prepared.config.name}-{panel.panel}", prepared, panel)


def challenge(prepared: PreparedBoard, panel: EvaluatedPanel, missing: Sequence[str] = ()) -> Promotion:
    """Register the model of a panel under the board's name, and make it the champion if it is significantly better.

    A decision about a version is never repeated. While panels are missing from its comparison, none is made.

    Args:
        prepared: the board.
        panel: the challenger.
        missing: the labels of the panels that are missing from the comparison.
    """
    name = prepared.config.name
    version = register_version(name, prepared, panel, {LEASE: str(Lease.now())})
    with _turn(version):
        champion = find_champion(name)
        is_champion = champion is not None and str(champion.version) == str(version.version)
        tags = read_tags(connect().get_model_version(name, version.version))
        if DECISION in tags or is_champion:
            reason = tags.get(DECISION, "it was made the champion before")
            return Promotion(is_champion, reason, earlier=version.run_id != panel.run_id)
        if missing:
            return Promotion(
                promoted=False,
                reason=f"the comparison is incomplete, without {join_words(missing)}; `triptych promote "
                f"{name}/{version.version}` decides by hand",
            )
        promotion = _decide(prepared, panel, champion)
        if promotion.promoted:
            _move_alias(name, str(version.version), champion)
        reason = promotion.reason[:MAX_TAG_LENGTH]
        connect().set_model_version_tag(name, str(version.version), PREFIX + DECISION, reason)
    return promotion


@contextmanager
def _turn(version: ModelVersion) -> Iterator[None]:
    """Wait until every lower version that is about to be decided has been, so that one decides after the other.

    The store numbers the versions, whichever machines register them. A version is about to be decided while it has
    a lease.
    """
    client, name = connect(), version.name
    client.set_model_version_tag(name, version.version, PREFIX + LEASE, str(Lease.now()))
    try:
        while any(
            int(other.version) < int(version.version) and _is_about_to_be_decided(other)
            for other in client.search_model_versions(f"name = '{name}'")
        ):
            time.sleep(SECONDS_BETWEEN_CHECKS)
        yield
    finally:
        # Not deleted: a user who may edit models, but not delete them, may not delete their tags.
        client.set_model_version_tag(name, version.version, PREFIX + LEASE, FREE)


def _is_about_to_be_decided(version: ModelVersion) -> bool:
    lease = Lease.read(read_tags(version).get(LEASE, ""))
    return lease is not None and time.time() - lease.renewed < DECISION_SECONDS and lease.is_live()


def _decide(prepared: PreparedBoard, panel: EvaluatedPanel, champion: ModelVersion | None) -> Promotion:
    if champion is None:
        return Promotion(promoted=True, reason="there was no champion")
    split_id = read_tags(champion).get(SPLIT_ID, "unknown")
    if split_id != prepared.split_id:
        return Promotion(
            promoted=False,
            reason=f"the champion was tested on split {split_id}, not on {prepared.split_id}, and accuracies on "
            f"different images are not comparable; `triptych promote {prepared.config.name}/VERSION` decides by hand",
        )
    try:
        predictions = load_logged_predictions(str(champion.run_id))
    except (MlflowException, OSError, DamagedFileError):
        reason = f"the predictions of the champion's run {champion.run_id} no longer exist, or are damaged"
        return Promotion(promoted=False, reason=reason)
    return judge(load_logged_predictions(panel.run_id), predictions, prepared.config.evaluate.confidence_level)


def promote(name: str, version: str) -> str:
    """Make a version the champion by hand; return its number.

    Raises:
        ConfigError: there is no such version.
    """
    number = str(find_version(f"{name}/{version}").version)
    _move_alias(name, number, find_champion(name))
    return number


def rollback(name: str) -> str:
    """Make the previous champion the champion again; return its version.

    Raises:
        ConfigError: there is no champion, or no previous one.
    """
    champion = find_version(f"{name}@{CHAMPION}")
    previous = read_tags(champion).get(PREVIOUS)
    if not previous:
        raise ConfigError(f"version {champion.version} of {name!r} is its first champion: there is no previous one")
    try:
        connect().get_model_version(name, previous)
    except MlflowException as error:
        raise ConfigError(f"version {previous} of {name!r}, the previous champion, was deleted") from error
    connect().set_registered_model_alias(name, CHAMPION, previous)
    return str(previous)


def _move_alias(name: str, version: str, champion: ModelVersion | None) -> None:
    if champion is not None and str(champion.version) != version:
        connect().set_model_version_tag(name, version, PREFIX + PREVIOUS, str(champion.version))
    connect().set_registered_model_alias(name, CHAMPION, version)

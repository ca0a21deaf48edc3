"""The champion of each board: who challenges it, who replaces it, and how that is undone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from triptych.config.names import spell_safely
from triptych.data.boards import PreparedBoard, open_board
from triptych.errors import ConfigError
from triptych.evaluation.model_card import SETTINGS
from triptych.evaluation.pairs import join_words
from triptych.evaluation.promotion import Promotion
from triptych.evaluation.report import EvaluatedPanel
from triptych.system.text import escape_markdown
from triptych.tracking.client import connect
from triptych.tracking.leases import FREE, Lease
from triptych.tracking.links import link_inside, link_to_run
from triptych.tracking.records import ComparisonRecord
from triptych.tracking.registry.decisions import decide
from triptych.tracking.registry.looks import count_looks, record_look
from triptych.tracking.registry.registering import register_version
from triptych.tracking.registry.scoring import IMAGES_FILE, log_images
from triptych.tracking.registry.versions import (
    CARD_FILE,
    CHAMPION,
    find_champion,
    find_version,
    open_registry,
    search_versions,
)
from triptych.tracking.tags import APPROVAL, DECISION, LABEL, LEASE, PREFIX, PREVIOUS, SINCE, read_tags

MAX_TAG_LENGTH = 5000
WAITING = "waits"
# A heading of the model card.
PROMOTION = "## Promotion"
# A decision takes a second or two, and longer if the champion has to classify many images for it.
DECISION_SECONDS, SECONDS_BETWEEN_CHECKS = 300.0, 0.1


def register_panel(prepared: PreparedBoard, panel: EvaluatedPanel) -> str:
    """Register the model of a panel under `BOARD-PANEL`; return its version as NAME/VERSION."""
    version = register_version(f"{prepared.config.name}-{spell_safely(panel.panel)}", prepared, panel)
    return f"{version.name}/{version.version}"


State = Literal["new", "same", "refused", "waiting"]
# What is said of a challenger, by what became of it.
TEXTS: dict[State, str] = {
    "new": "{label}, the best on validation, is the new champion: {reason}",
    "same": "{champion}; it is the best on validation again",
    "refused": "{label}, the best on validation, does not become champion: {reason}; {champion}",
    "waiting": "{label}, the best on validation, waits as {version} for approval: {reason}; {champion}",
}
NO_CHAMPION = "there is no champion"


@dataclass(frozen=True)
class Verdict:
    """What became of a challenger.

    Attributes:
        state: one of `TEXTS`.
        label: the challenger; where panels have repeats, which of its trainings.
        version: its registered version, as NAME/VERSION.
        reason: of the decision on it, in one sentence with the figures.
        champion: the champion now, since when, and how often the test set was opened.
        models: the registered versions of all panels, as NAME/VERSION.
    """

    state: State
    label: str
    version: str
    reason: str
    champion: str
    models: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All of it in one sentence."""
        return TEXTS[self.state].format(**vars(self))


def challenge(
    prepared: PreparedBoard,
    panel: EvaluatedPanel,
    others: Sequence[EvaluatedPanel] = (),
    missing: Sequence[str] = (),
    comparison: ComparisonRecord | None = None,
) -> Verdict:
    """Register the model of a panel under the board's name, and make it the champion if it is shown to be better.

    A decision about a version is never repeated. While panels are missing from its comparison, none is made.

    Args:
        prepared: the board.
        panel: the challenger.
        others: the other panels of the comparison: no first champion is shown to be worse than one of them.
        missing: the labels of the panels that are missing from the comparison.
        comparison: the comparison, which the model card links to.
    """
    name = prepared.config.name
    version = register_version(name, prepared, panel, {LEASE: str(Lease.now())})
    reference = f"{name}/{version.version}"
    with _turn(version):
        champion = find_champion(name)
        is_champion = champion is not None and str(champion.version) == str(version.version)
        tags = read_tags(connect().get_model_version(name, version.version))
        reason = tags.get(DECISION, "it was made the champion before")
        state: State = "refused"
        if is_champion:
            state = "new" if version.run_id == panel.run_id and not panel.shared else "same"
        elif DECISION in tags:
            state = "waiting" if tags.get(APPROVAL) == WAITING else "refused"
        else:
            # Also for a version that somebody promotes by hand.
            log_images(str(version.run_id), open_board(prepared))
            if missing:
                reason = f"the comparison is incomplete, without {join_words(missing)}; "
                reason += f"`triptych promote {reference}` decides by hand"
            else:
                promotion = decide(prepared, panel, others, champion, version)
                state, reason = _settle(prepared, promotion, champion, version, comparison)
    # A single training challenges, whose figures are not the means of the table.
    return Verdict(state, panel.name_training(prepared.config), reference, reason, describe_champion(name))


def _settle(
    prepared: PreparedBoard,
    promotion: Promotion,
    champion: ModelVersion | None,
    version: ModelVersion,
    comparison: ComparisonRecord | None,
) -> tuple[State, str]:
    """Write the decision on a challenger down and act on it; return what became of it, and why."""
    record_look(version, promotion, prepared.test_set_id)
    state = _name_state(promotion, approval=prepared.config.promote.approval)
    if state == "new":
        _move_alias(version.name, str(version.version), champion)
    reason = promotion.reason[:MAX_TAG_LENGTH]
    tags = {APPROVAL: WAITING} if state == "waiting" else {}
    # The reason comes last: it says that the decision was made.
    for tag, value in {**tags, DECISION: reason}.items():
        open_registry().set_model_version_tag(version.name, str(version.version), PREFIX + tag, value)
    _complete_card(version, promotion, comparison)
    return state, reason


def _name_state(promotion: Promotion, *, approval: bool) -> State:
    if not promotion.promoted:
        return "refused"
    return "waiting" if approval else "new"


def describe_champion(name: str) -> str:
    """Return which version is the champion, since when, and how often the test set was opened."""
    champion = find_champion(name)
    if champion is None:
        return NO_CHAMPION
    tags, opened = read_tags(champion), count_looks(name).opened
    since = tags.get(SINCE) or time.strftime("%Y-%m-%d", time.gmtime(champion.creation_timestamp / 1000))
    times = "once" if opened == 1 else f"{opened} times"
    label = tags.get(LABEL, name)
    return f"{label} (version {champion.version}) remains the champion since {since}, test set opened {times}"


def _complete_card(version: ModelVersion, promotion: Promotion, comparison: ComparisonRecord | None) -> None:
    """Add the decision to the model card, in place of one that was interrupted."""
    client = connect()
    written = str(client.get_model_version(version.name, version.version).description)
    opened = count_looks(version.name).opened
    facts = [
        escape_markdown(promotion.reason),
        *([_link_to(comparison, promotion)] if comparison else ()),
        f"the test set was opened for {opened} decision(s) on this board so far, this one included",
        f"`{IMAGES_FILE}` of run {version.run_id} lists the images that it was trained, chosen and tested on",
    ]
    if promotion.promoted and promotion.spent:
        facts.append("the accuracy above was selected: the same images decided, so that it is too high on average")
    # The settings may be long, and come last.
    head, heading, settings = written.partition(SETTINGS)
    head, settings = (part.partition(PROMOTION)[0] for part in (head, settings))
    card = "\n".join([head + PROMOTION, "", *(f"- {fact}" for fact in facts), "", heading + settings])
    open_registry().update_model_version(version.name, version.version, description=card)
    client.log_text(str(version.run_id), card, CARD_FILE)


def _link_to(comparison: ComparisonRecord, promotion: Promotion) -> str:
    link = link_inside(link_to_run(comparison.experiment_id, comparison.run_id))
    text = "it won comparison" if promotion.promoted else "it was the best on validation in comparison"
    return f"{text} [{comparison.comparison}]({link})"


@contextmanager
def _turn(version: ModelVersion) -> Iterator[None]:
    """Wait until every lower version that is about to be decided has been, so that one decides after the other.

    The store numbers the versions, whichever machines register them. A version is about to be decided while it has
    a lease.
    """
    registry, name = open_registry(), version.name
    registry.set_model_version_tag(name, version.version, PREFIX + LEASE, str(Lease.now()))
    before = f"version_number < {version.version} and tags.`{PREFIX}{LEASE}` != '{FREE}'"
    try:
        while any(_is_about_to_be_decided(other) for other in search_versions(name, before)):
            time.sleep(SECONDS_BETWEEN_CHECKS)
        yield
    finally:
        # Not deleted: a user who may edit models, but not delete them, may not delete their tags.
        registry.set_model_version_tag(name, version.version, PREFIX + LEASE, FREE)


def _is_about_to_be_decided(version: ModelVersion) -> bool:
    lease = Lease.read(read_tags(version).get(LEASE, ""))
    return lease is not None and time.time() - lease.renewed < DECISION_SECONDS and lease.is_live()


def promote(name: str, version: str) -> str:
    """Make a version the champion by hand; return its number.

    Raises:
        ConfigError: there is no such version.
    """
    number = str(find_version(f"{name}/{version}").version)
    _move_alias(name, number, find_champion(name))
    return number


def approve(reference: str, *, approved: bool, by: str) -> str:
    """Make a version the champion that waits for approval, or refuse it; return what became of it.

    Args:
        reference: NAME/VERSION.
        approved: the answer.
        by: who or what answered.
    """
    name, _, version = reference.partition("/")
    champion = find_champion(name)
    if approved and (champion is None or str(champion.version) != version):
        _move_alias(name, version, champion)
    verb = "approved" if approved else "not approved"
    open_registry().set_model_version_tag(name, version, PREFIX + APPROVAL, f"{verb} by {by}")
    return f"{reference} was {verb} by {by}; {describe_champion(name)}"


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
    open_registry().set_registered_model_alias(name, CHAMPION, previous)
    return str(previous)


def _move_alias(name: str, version: str, champion: ModelVersion | None) -> None:
    if champion is not None and str(champion.version) != version:
        open_registry().set_model_version_tag(name, version, PREFIX + PREVIOUS, str(champion.version))
    open_registry().set_model_version_tag(name, version, PREFIX + SINCE, time.strftime("%Y-%m-%d", time.gmtime()))
    open_registry().set_registered_model_alias(name, CHAMPION, version)

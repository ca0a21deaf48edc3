"""A night: what one comparison of a board measured and decided, small enough to be kept for years."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from scipy.special import ndtri

from triptych.evaluation.history.drift import Drift

# Status of a comparison with a result: all panels have one, or some are missing. Without a result it is MLflow's.
FINISHED, INCOMPLETE = "finished", "incomplete"
# Longer sentences are cut off.
LONGEST_TEXT = 1000


@dataclass(frozen=True)
class PanelNight:
    """What a night measured of one panel, means over its repeats.

    Attributes:
        panel: the panel's name.
        label: the panel's name as reports show it.
        accuracy: on the test set.
        low: lower bound of Wilson's interval of the accuracy.
        high: upper bound.
        log_loss: on the test set.
        seconds: for embedding and fitting, of an earlier night if the training was restored from there.
        images: size of the test set.
        independent_images: as many independent test images would give the interval.
    """

    panel: str
    label: str
    accuracy: float
    low: float
    high: float
    log_loss: float
    seconds: float
    images: int
    independent_images: int


@dataclass(frozen=True)
class Night:
    """What one comparison of a board measured and decided.

    Attributes:
        comparison: its id.
        started: milliseconds since 1970.
        status: `FINISHED`, `INCOMPLETE`, or MLflow's status of a comparison without a result, in lower case.
        panels: one for each panel with a result, best first.
        images: the number of images of each part.
        data: SHA-256 of the data, hexadecimal.
        test_set: hash of the test images and their classes.
        verdict: the result in one sentence; empty without one.
        missing: the panels without a result, with the reasons.
        decision: what became of the challenger: "new", "same", "refused" or "waiting"; empty where it is unknown.
        reason: of the decision, in one sentence.
        champion: the champion at the end of the night, with its version; empty where it is unknown.
        drift: how unlike the earlier images those are that were added since the night before; None if it was not
            measured.
        number: of the night on its board, from 1; 0 if it has none yet.
    """

    comparison: str
    started: int
    status: str
    panels: tuple[PanelNight, ...] = ()
    images: Mapping[str, int] = field(default_factory=dict)
    data: str = ""
    test_set: str = ""
    verdict: str = ""
    missing: tuple[str, ...] = ()
    decision: str = ""
    reason: str = ""
    champion: str = ""
    drift: Drift | None = None
    number: int = 0

    @property
    def failed(self) -> bool:
        """Whether it ended without a result."""
        return self.status not in {FINISHED, INCOMPLETE}

    @property
    def time(self) -> datetime:
        """When it started, in local time."""
        return datetime.fromtimestamp(self.started / 1000, UTC).astimezone()

    @property
    def month(self) -> str:
        """The month in which it started, in UTC."""
        return f"{datetime.fromtimestamp(self.started / 1000, UTC):%Y-%m}"

    @property
    def date(self) -> str:
        """The day on which it started, in local time."""
        return f"{self.time:%Y-%m-%d}"

    def find(self, panel: str) -> PanelNight | None:
        """Return what it measured of a panel; None if it did not."""
        return next((one for one in self.panels if one.panel == panel), None)

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Night:
        """Return a night from its JSON values."""
        drift = values["drift"]
        return cls(
            **{
                **values,
                "panels": tuple(PanelNight(**one) for one in values["panels"]),
                "missing": tuple(values["missing"]),
                "drift": Drift(**drift) if drift else None,
            }
        )


def describe_panels(
    standings: Sequence[Mapping[str, Any]], test_images: int, confidence_level: float
) -> tuple[PanelNight, ...]:
    """Return what a night keeps of the standings of its report.

    Args:
        standings: as `Standing.as_json` returns them, best first.
        test_images: size of the test set.
        confidence_level: of their intervals.
    """
    return tuple(
        PanelNight(
            # A label is the name of the panel, followed by what is special about it in brackets.
            panel=standing["label"].partition(" ")[0],
            label=standing["label"],
            accuracy=standing["test_accuracy"],
            low=standing["low"],
            high=standing["high"],
            log_loss=standing["test_log_loss"],
            seconds=standing.get("fit_seconds", 0.0) + (standing.get("embed_seconds") or 0.0),
            images=test_images,
            independent_images=count_independent(
                standing["test_accuracy"], standing["low"], test_images, confidence_level
            ),
        )
        for standing in standings
    )


def count_independent(accuracy: float, low: float, images: int, confidence_level: float) -> int:
    """Return how many independent images give an accuracy the lower bound that it has; images of a group count less.

    Wilson's bounds solve (accuracy - bound)^2 = z^2 bound (1 - bound) / n.

    >>> count_independent(accuracy=0.8, low=0.4902, images=10, confidence_level=0.95)
    10
    """
    quantile = float(ndtri(0.5 + confidence_level / 2.0))
    if accuracy <= low:
        return images
    return max(1, min(images, round(quantile**2 * low * (1.0 - low) / (accuracy - low) ** 2)))

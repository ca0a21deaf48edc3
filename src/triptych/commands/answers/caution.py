"""The option `--error-at-most` of `predict`: answers with a promise, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triptych.commands.terminal import errors
from triptych.errors import ConfigError

if TYPE_CHECKING:
    from triptych.panels.prediction import Caution
    from triptych.tracking.registry.loading import LoadedVersion


def read_rate(text: str) -> float:
    """Return a rate that is given in percent or as a share.

    Raises:
        ConfigError: it is none.

    >>> read_rate("2%"), read_rate("0.02")
    (0.02, 0.02)
    """
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        rate = float(number) / (100 if percent else 1)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1:
        raise ConfigError(f"--error-at-most {text!r} is not above 0 and below 100 %: give a rate such as 2% or 0.02")
    return rate


def take_caution(version: Any, loaded: LoadedVersion, rate: float) -> Caution:
    """Return when a registered model gives no answer.

    Args:
        version: of the model, from `find_version`.
        loaded: the same version, loaded.
        rate: of errors among the answers.

    Raises:
        ConfigError: its validation predictions are missing, the rate cannot be promised with them, or a class is called
            like a refusal.
    """
    from triptych.evaluation.abstention.promise import require_threshold
    from triptych.panels.prediction import FOREIGN, NOT_SURE, Caution
    from triptych.tracking.registry.validated import load_validated

    for taken in {FOREIGN, NOT_SURE} & {*loaded.classes}:
        raise ConfigError(f"--error-at-most refuses with {taken!r}, which is a class of {version.name}: rename it")
    validated = load_validated(version)
    threshold = require_threshold(validated, rate)
    if loaded.familiarity is None:
        name = f"{version.name}/{version.version}"
        errors.print(f"triptych: {name} refuses no foreign image: an earlier version trained it", highlight=False)
    return Caution(threshold, loaded.familiarity)

"""Every error this project raises on purpose.

An `InputError` is the user's to mend: its message is one line that names the value, the rule and the
remedy, and the command line turns it into exit code 2 without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


class TriptychError(Exception):
    """The root of the tree."""


class InputError(TriptychError):
    """Something that was given cannot be used."""


class ConfigError(InputError, ValueError):
    """A preset, a panel or a field of the configuration is unknown or out of range."""


class DataError(InputError):
    """A data set is missing, damaged or cannot be split."""


class UnreadableImageError(DataError):
    """An image file is no complete image, or one that is refused.

    Attributes:
        file: the image file.
        reason: why it cannot be read.
        remedy: what to do about it.
    """

    def __init__(self, file: Path, reason: str, remedy: str = "replace or remove the file") -> None:
        """Remember the file, the reason and the remedy."""
        super().__init__(file, reason, remedy)
        self.file = file
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"image {self.file} cannot be read ({self.reason}): {self.remedy}"


class WeightsError(InputError):
    """A backbone's weights are missing, damaged or of another network."""


class DivergenceError(TriptychError):
    """The loss of a training stopped being a finite number."""


class NonFiniteStepError(TriptychError):
    """A step of a training gave a figure that is no finite number.

    Attributes:
        step: its number in the epoch, from 1.
    """

    def __init__(self, step: int) -> None:
        """Remember the step."""
        super().__init__(f"step {step} is not finite")
        self.step = step


class CheckpointError(InputError):
    """A checkpoint belongs to another training."""


class ProcessError(TriptychError):
    """One of the processes that trained a network together ended before the training did."""


class InterruptedRunError(TriptychError):
    """Work was given up, as its flow run had been interrupted."""


class ElsewhereError(TriptychError):
    """What the machines of another work pool were asked for was not done."""


class EndlessRestartError(TriptychError):
    """A flow run was started again after each of its crashes, and often enough."""


class AtWorkError(TriptychError):
    """Another process is at work on just what this one was started for."""


class IncompleteError(TriptychError):
    """Some panels or boards could not be done; the others were, and all is recorded.

    Attributes:
        results: of every board or study that has one.
        bad_input: whether the user's input was the reason at least once.
    """

    def __init__(self, message: str, results: Sequence[Any], *, bad_input: bool) -> None:
        """Remember the results."""
        super().__init__(message)
        self.results = results
        self.bad_input = bad_input


class FrozenError(TriptychError):
    """A backbone that was frozen has changed."""


class ReloadError(TriptychError):
    """A logged model, loaded back, does not give the probabilities that its trainer saw."""


class ExportError(TriptychError):
    """An exported model does not give the probabilities of the one that it was made of."""


def suggest(value: str, choices: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" where one of the choices is close to the value, else nothing.

    >>> suggest("digit", ["digits", "report"])
    "; did you mean 'digits'?"
    >>> suggest("zebra", ["digits", "report"])
    ''
    """
    close = difflib.get_close_matches(value, list(choices), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""

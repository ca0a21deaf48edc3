"""Every error that this project raises on purpose.

An `InputError` is for the user to fix: its message is one line that names the value, the rule and the
remedy, and the command line turns it into exit code 2 without a traceback.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from unicodedata import category

# What SQLAlchemy appends to the message of a database.
SQL = re.compile(r" \[SQL: .*| \(Background on this error.*")


class TriptychError(Exception):
    """The base of all errors of this project."""


class InputError(TriptychError):
    """An input of the user cannot be used."""


class ConfigError(InputError, ValueError):
    """A preset, a panel, an option or a field of the configuration is unknown or out of range."""


class DataError(InputError):
    """A data set is missing, damaged or cannot be split."""


class SplitSeedError(DataError):
    """With this seed of the split, a class is not in every part; with another one, every class is.

    Attributes:
        seed: the other seed.
    """

    def __init__(self, message: str, seed: int) -> None:
        """Keep the other seed."""
        super().__init__(message)
        self.seed = seed


class UnreadableImageError(DataError):
    """An image file is damaged, or is refused.

    Attributes:
        file: the image file.
        reason: why it cannot be read.
        remedy: how to fix it.
    """

    def __init__(self, file: Path, reason: str, remedy: str = "replace or remove the file") -> None:
        """Keep the file, the reason and the remedy."""
        super().__init__(file, reason, remedy)
        self.file = file
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"image {self.file} cannot be read ({self.reason}): {self.remedy}"


class WeightsError(InputError):
    """The weights of a backbone are missing, damaged, or belong to another network."""


class StorageError(InputError):
    """A file cannot be written: there is no room, no permission, or something else in its place."""


class DamagedFileError(InputError):
    """A stored file is not what was written: damaged, of another version, or unreadable.

    Attributes:
        file: the file.
        reason: what is wrong with it.
        remedy: how to fix it.
    """

    def __init__(self, file: Path, reason: str, remedy: str = "delete it, and run the same command again") -> None:
        """Keep the file, the reason and the remedy."""
        super().__init__(file, reason, remedy)
        self.file = file
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.file} is damaged ({self.reason}): {self.remedy}"


class DivergenceError(TriptychError):
    """The loss of a training is no longer finite."""


class NonFiniteStepError(TriptychError):
    """A step of a training gave a loss or a gradient that is not finite.

    Attributes:
        step: number of the step in its epoch, from 1.
    """

    def __init__(self, step: int) -> None:
        """Keep the step."""
        super().__init__(f"step {step} is not finite")
        self.step = step


class CheckpointError(InputError):
    """A checkpoint belongs to another training."""


class ProcessError(TriptychError):
    """A process of a data-parallel training ended before the training did."""


class RunInterruptedError(TriptychError):
    """Work stopped because its flow run was interrupted."""


class RemotePanelError(TriptychError):
    """A panel that was sent to another work pool was not trained there."""


class RestartLimitError(TriptychError):
    """A flow run crashed too often to be restarted again."""


class ConcurrentRunError(TriptychError):
    """Another process is working on the same comparison or study."""


class IncompleteError(TriptychError):
    """Some panels, boards or studies failed; the results of the others are complete and recorded.

    Attributes:
        results: the results of the boards or studies that have one.
        bad_input: whether an input of the user caused at least one of the failures.
    """

    def __init__(self, message: str, results: Sequence[Any], *, bad_input: bool) -> None:
        """Keep the results."""
        super().__init__(message)
        self.results = results
        self.bad_input = bad_input


class FrozenError(TriptychError):
    """A frozen backbone changed during a training."""


class ReloadError(TriptychError):
    """A logged model that was loaded again does not reproduce the probabilities of its training."""


class EvaluationError(TriptychError):
    """Predictions do not cover every test image exactly once, or are no finite numbers."""


class ExportError(TriptychError):
    """An exported model does not reproduce the probabilities of the original."""


def describe_error(error: Exception) -> str:
    """Return an error as one line; an unexpected one begins with its type, so that it is not taken for bad input.

    >>> describe_error(InputError("no such folder: name another")), describe_error(OSError("disk full"))
    ('no such folder: name another', 'OSError: disk full')
    >>> describe_error(RuntimeError("(sqlite3.OperationalError) database is locked [SQL: INSERT INTO runs]"))
    'RuntimeError: (sqlite3.OperationalError) database is locked'
    """
    text = hide_passwords(escape_controls(SQL.sub("", " ".join(str(error).split()))))
    if isinstance(error, TriptychError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def escape_controls(text: str) -> str:
    r"""Return a text whose control characters are spelled out, because a terminal would obey those in a file's name.

    >>> print(escape_controls(f"red {chr(27)}[31m, two{chr(10)}lines"))
    red \x1b[31m, two\nlines
    """
    if text.isprintable():
        return text
    # The no-break space, for one, does not count as printable.
    return "".join(one if one.isprintable() or category(one) == "Zs" else repr(one)[1:-1] for one in text)


def hide_passwords(text: str) -> str:
    """Return a text without the passwords of the addresses in it.

    >>> hide_passwords("no store at postgresql://ann:secret@host/mlflow")
    'no store at postgresql://ann:***@host/mlflow'
    """
    # A port and a path are no password: http://host:5000/model@champion.
    return re.sub(r"(?<=://)([^\s:/@]*):(?!\d+/)\S*@", r"\1:***@", text)


def suggest(value: str, choices: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" if one of the choices is close to the value, else nothing.

    >>> suggest("digit", ["digits", "report"])
    "; did you mean 'digits'?"
    >>> suggest("zebra", ["digits", "report"])
    ''
    """
    close = difflib.get_close_matches(value, list(choices), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""

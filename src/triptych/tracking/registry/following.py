"""A registered model that stays loaded, and is replaced when its alias moves to another version."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Generic, TypeVar

import mlflow
from mlflow.entities.model_registry import ModelVersion

from triptych.errors import ConfigError, describe_error, hide_passwords
from triptych.system.addresses import ask, sqlite_file
from triptych.tracking.registry.versions import find_version
from triptych.tracking.store import is_sqlite

Loaded = TypeVar("Loaded")
# Between two checks while they fail: each may download a model that cannot be loaded.
MOST_SECONDS = 60.0


class Followed(Generic[Loaded]):
    """What a reference to a registered model names, loaded.

    Attributes:
        current: the loaded version. Users read it once for each piece of work, as another thread replaces it.
        problem: why the last check failed; empty if it did not.
    """

    def __init__(
        self, reference: str, load: Callable[[ModelVersion], Loaded], report: Callable[[str], None] = print
    ) -> None:
        """Load the version that a reference names now.

        Args:
            reference: NAME, NAME@ALIAS or NAME/VERSION.
            load: loads a version.
            report: takes a line about each change.

        Raises:
            ConfigError: there is no such version.
        """
        self._reference, self._load, self._report = reference, load, report
        version = find_version(reference)
        self._identity = identify(version)
        self.current = load(version)
        self.problem = ""

    def follow(self, seconds: float, end: Event) -> None:
        """Check at intervals until an event; while checks fail, each interval is twice the last."""
        wait = seconds
        while not end.wait(wait):
            self.check()
            wait = min(2 * wait, MOST_SECONDS) if self.problem else seconds

    def check(self) -> None:
        """Load the version that the reference names now, if it is another one; if that fails, keep the old one."""
        try:
            require_answer()
            version = find_version(self._reference)
            if identify(version) != self._identity:
                self.current, self._identity = self._load(version), identify(version)
                self._report(f"{version.name}/{version.version} answers from now on")
            problem = ""
        except Exception as error:  # noqa: BLE001 - whatever it is, the old version answers
            problem = describe_error(error)
        # One line when it begins and one when it ends; the text may be another one each time.
        if bool(problem) != bool(self.problem):
            self._report(f"the loaded version keeps answering: {problem}" if problem else "the registry is back")
        self.problem = problem


def identify(version: ModelVersion) -> tuple[str, str, int]:
    """Return what tells a version from others, and from one that was deleted and registered again."""
    return version.name, str(version.version), version.creation_timestamp


def require_answer() -> None:
    """Check that the registry answers. MLflow would retry for minutes, or put an empty file where an SQLite store was.

    Raises:
        ConfigError: the file of an SQLite store is gone, or the server does not answer.
    """
    uri = mlflow.get_registry_uri()
    if is_sqlite(uri) and not sqlite_file(uri).is_file():
        raise ConfigError(f"the store {sqlite_file(uri)} is gone: restore it")
    if uri.startswith("http"):
        try:
            ask(f"{uri.rstrip('/')}/health")
        except (OSError, ValueError) as error:
            raise ConfigError(f"the registry at {hide_passwords(uri)} does not answer ({error}): start it") from error

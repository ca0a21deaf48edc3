"""The database of a tracking store: created with all its tables, opened once to see that it can be, and moved."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
from filelock import FileLock
from mlflow.exceptions import MlflowException

from triptych.errors import ConfigError, describe_error, hide_passwords
from triptych.system.addresses import open_database, sqlite_file
from triptych.system.files import replace_atomically

# The columns of MLflow's tables that hold addresses of artifacts, which are absolute.
ADDRESSES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
ARTIFACTS = "artifacts"


def is_sqlite(uri: str) -> bool:
    """Return whether a store is an SQLite file."""
    return uri.startswith("sqlite")


def artifact_home(uri: str) -> Path:
    """Return the folder of the artifacts of an SQLite store, which lies beside its file."""
    return sqlite_file(uri).resolve().parent / ARTIFACTS


@cache
def check_store(uri: str) -> None:
    """Check that a store can be used; an SQLite file is created if there is none.

    Raises:
        ConfigError: the database cannot be opened, another version of MLflow wrote it, its artifacts are elsewhere, or
            a server refuses the call.
    """
    if is_sqlite(uri):
        create_store(sqlite_file(uri))
        open_database(uri)
        check_place(sqlite_file(uri))
    registry = os.environ.get("MLFLOW_REGISTRY_URI", "")
    try:
        client = mlflow.MlflowClient(uri)
        client.search_experiments(max_results=1)
        # The registry in an SQLite file is in the same database, which MLflow has just checked.
        if registry or not is_sqlite(uri):
            client.search_registered_models(max_results=1)
    except MlflowException as error:
        where = f"{uri} with MLFLOW_REGISTRY_URI={registry}" if registry else uri
        raise ConfigError(
            f"MLFLOW_TRACKING_URI={hide_passwords(where)} cannot be used: {describe_error(error)}"
        ) from error


def create_store(file: Path) -> None:
    """Create an SQLite file with all its tables, or none at all.

    MLflow takes seconds to create it, and could never open one that was interrupted halfway.

    Raises:
        ConfigError: the file cannot be created.
    """
    if _has_content(file):
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_name(f".{file.name}.lock")):
            if not _has_content(file):
                with replace_atomically(file) as partial:
                    mlflow.MlflowClient(f"sqlite:///{partial}").search_experiments()
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"the store {file} cannot be created ({reason}): set MLFLOW_TRACKING_URI") from error


def _has_content(file: Path) -> bool:
    # Every program that only looks for an SQLite file leaves an empty one.
    return file.exists() and file.stat().st_size > 0


def check_place(file: Path) -> None:
    """Check that the artifacts of an SQLite store are where it says.

    Raises:
        ConfigError: the store was moved or copied, and its addresses name the old place.
    """
    for old, new in find_moved(file).items():
        raise ConfigError(
            f"the store {file} was moved or copied: its artifacts are recorded in {_find_folder(old)}; "
            f"`triptych store move` records them in {new}"
        )


def find_moved(file: Path) -> dict[str, Path]:
    """Return the new folder of each experiment whose artifacts an SQLite store records elsewhere, by the old address.

    Artifacts elsewhere are left alone if they exist there and not beside the store: then two stores share them.
    """
    with closing(sqlite3.connect(file)) as database:
        rows = database.execute("SELECT artifact_location FROM experiments").fetchall()
    found = {location: _find_folder(location) for (location,) in rows if location}
    home = file.resolve().parent / ARTIFACTS
    return {
        location: home / old.name
        for location, old in found.items()
        if old.is_absolute() and old.parent.name == ARTIFACTS and _was_moved(old, home / old.name)
    }


def _find_folder(location: str) -> Path:
    return Path(unquote(urlsplit(location).path))


def _was_moved(old: Path, new: Path) -> bool:
    if old == new or (old.exists() and new.exists() and old.samefile(new)):
        return False
    return new.exists() or not old.exists()


def move_store(file: Path) -> dict[str, Path]:
    """Record the artifacts of an SQLite store beside it; return the new folders by the old addresses.

    The database as it was is kept, with `.before-move` added to its name.
    """
    moved = find_moved(file)
    if moved:
        before = file.with_name(f"{file.name}.before-move")
        with closing(sqlite3.connect(file)) as database, closing(sqlite3.connect(before)) as copy:
            database.backup(copy)
            with database:
                for old, new in moved.items():
                    _replace_addresses(database, old, new.as_uri())
    return moved


def compact_store(file: Path) -> None:
    """Give back to the file system what was deleted from an SQLite file, unless another process is using it now."""
    with closing(sqlite3.connect(file)) as database, suppress(sqlite3.OperationalError):
        database.execute("VACUUM")


def _replace_addresses(database: sqlite3.Connection, old: str, new: str) -> None:
    for table, columns in ADDRESSES.items():
        for column in columns:
            database.execute(
                f"UPDATE {table} SET {column} = :new || substr({column}, :length) "  # noqa: S608 - of the table above
                f"WHERE {column} = :old OR substr({column}, 1, :length) = :old || '/'",
                {"old": old, "new": new, "length": len(old) + 1},
            )

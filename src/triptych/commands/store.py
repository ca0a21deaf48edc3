"""The command for a tracking store that was moved or copied."""

from __future__ import annotations

from triptych.commands.options import DebugOption
from triptych.commands.terminal import terminal
from triptych.errors import ConfigError, hide_passwords
from triptych.system.addresses import sqlite_file, tracking_uri
from triptych.system.environment import apply_environment

STORE_HELP = "The local tracking store, an SQLite file with a folder of artifacts beside it."
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
    from triptych.tracking import move_store

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

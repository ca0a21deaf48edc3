"""The command line, run in this process or in one of its own."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from triptych import cli
from triptych.system import progress

# Seconds: on a busy machine, too, a command that refuses its input prints nothing else.
PATIENCE = 600.0


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process."""
    command = ["triptych", *map(str, arguments)]
    with (
        patch.object(sys, "argv", command),
        patch.object(progress, "SHORTEST_SILENCE", PATIENCE),
        redirect_stdout(io.StringIO()) as stdout,
        redirect_stderr(io.StringIO()) as stderr,
    ):
        code = cli.run()
    return subprocess.CompletedProcess(command, code, stdout.getvalue(), stderr.getvalue())


def start(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [str(Path(sys.executable).with_name("triptych")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)

"""The command line in processes that start at once: all is imported here, then each line of standard input is a fork.

A line is a `Job` as JSON; the answer is the id of its process.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from triptych.system.environment import apply_environment

apply_environment(quiet=True)

from prefect.context import refresh_global_settings_context  # noqa: E402

from triptych.cli import run as run_command  # noqa: E402

# What the commands import.
MODULES = (
    *("flows.compare", "flows.tune", "triptych.evaluation.page", "matplotlib.pyplot", "sklearn.datasets"),
    *("mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "torchvision.models"),
)
ENDED = "ended with exit code"


@dataclass(frozen=True)
class Job:
    """A command.

    Attributes:
        arguments: of the command line.
        log: the file that the process writes to.
        environment: its variables; None for those that it does not have.
        constants: constants of modules that have other values there, by their full names.
        machine: name of the machine that it pretends to be on.
    """

    arguments: list[str]
    log: str
    environment: dict[str, str | None] = field(default_factory=dict)
    constants: dict[str, float] = field(default_factory=dict)
    machine: str = ""

    def run(self) -> None:
        """Run the command in this process."""
        os.setpgrp()
        self._reset()
        code: object = 0
        try:
            code = run_command()
        except SystemExit as ended:
            code = ended.code
        except BaseException:  # noqa: BLE001 - for the log
            traceback.print_exc()
            code = -1
        sys.stdout.flush()
        sys.stderr.flush()
        print(ENDED, code, flush=True)

    def _reset(self) -> None:
        """Make this process what a shell would have started."""
        # Under nohup, which the tests may run under, a program would ignore that its terminal is closed.
        for number in (signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
            os.dup2(stream, target)
        sys.argv = ["triptych", *self.arguments]
        for name, value in self.environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        refresh_global_settings_context()
        tempfile.tempdir = None  # found before TMPDIR was set
        for name, constant in self.constants.items():
            module, _, attribute = name.rpartition(".")
            setattr(importlib.import_module(module), attribute, constant)
        if self.machine:
            processes: Any = importlib.import_module("triptych.system.processes")
            processes.name_machine = lambda: self.machine


def reap(*_: object) -> None:
    """Let go of the processes that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """Start a process for each line, until there is no more."""
    for module in MODULES:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, reap)
    for line in sys.stdin:
        if process := os.fork():
            print(process, flush=True)
        else:
            try:
                Job(**json.loads(line)).run()
            finally:
                os._exit(0)


if __name__ == "__main__":
    main()

"""Commands that are suspended, as by a laptop that is closed: they go on, unless another machine has taken over."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from helpers.forks import Command, Forks
from helpers.wholeness import Work

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(600)]

WORK = Work(("numpy-mlp",), ("numpy_mlp.epochs=100",))
# The lease of a process runs out after so many seconds.
SHORT_LEASE = {"triptych.tracking.leases.LEASE_SECONDS": 4.0, "triptych.tracking.leases.SECONDS_BETWEEN_RENEWALS": 1.0}


def suspend(command: Command) -> None:
    """Suspend a command between two transactions: SQLite is locked in one, which a tracking server never is."""
    while True:
        command.send(signal.SIGSTOP)
        with closing(sqlite3.connect(command.store, timeout=0.1)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                command.send(signal.SIGCONT)
                time.sleep(0.01)
            else:
                return


def read_all(command: Command) -> dict[str, set[tuple[object, ...]]]:
    """Return what the store has about runs."""
    tables = {"runs": "run_uuid, status, end_time", "metrics": "key, run_uuid, step, timestamp", "params": "*"}
    tables |= {"tags": "*"}
    return {table: set(command.query(f"SELECT {rows} FROM {table}")) for table, rows in tables.items()}  # noqa: S608


def test_a_suspended_comparison_goes_on(forks: Forks, tmp_path: Path) -> None:
    undisturbed = forks.start(tmp_path / "undisturbed", *WORK.arguments)
    undisturbed.finish()
    suspended = forks.start(tmp_path / "suspended", *WORK.arguments, constants=SHORT_LEASE)
    suspended.wait_for_epochs()
    suspend(suspended)
    time.sleep(6)
    suspended.send(signal.SIGCONT)
    suspended.finish()
    WORK.check(suspended, like=undisturbed)


@pytest.mark.long
@pytest.mark.parametrize("arguments", [WORK.arguments, ["compare", "--panel", "most-frequent"]])
def test_a_suspended_comparison_writes_nothing_once_another_machine_has_it(
    arguments: list[str], forks: Forks, tmp_path: Path
) -> None:
    suspended = forks.start(tmp_path, *WORK.arguments, cache="one", constants=SHORT_LEASE, machine="one/boot/1")
    suspended.wait_for_epochs()
    suspend(suspended)
    try:
        time.sleep(6)
        # Of two machines with the same name, such as containers, the second continues the comparison; it closes others.
        other = forks.start(tmp_path, *arguments, cache="other", constants=SHORT_LEASE, machine="other/boot/1")
        other.finish()
        if arguments == WORK.arguments:
            WORK.check(other)
        left = read_all(other)
    finally:
        suspended.send(signal.SIGCONT)
    assert suspended.end() == 1
    assert "another machine has taken over MLflow run" in suspended.printed
    # MLflow has no call that asks who holds the lease while it writes: the call that was suspended ends, and no other
    # follows.
    found = read_all(other)
    assert len({step for _, _, step, _ in found.pop("metrics") - left.pop("metrics")}) <= 1
    assert found == left

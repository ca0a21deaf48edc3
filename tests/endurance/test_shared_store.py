"""Several processes on one store, each with a cache of its own: nobody closes or continues what another works on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.waiting import wait_until
from helpers.watched import ENDLESS, Command
from triptych.tracking.tags import COMPARISON, read_tags

pytestmark = pytest.mark.endurance
CLOSED = {"FAILED", "KILLED"}


def read_comparisons(command: Command) -> dict[str, set[str]]:
    """Return the statuses of the runs of each comparison in the store."""
    statuses: dict[str, set[str]] = {}
    for run in command.runs():
        statuses.setdefault(read_tags(run)[COMPARISON], set()).add(run.info.status)
    return statuses


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Command]:
    """A comparison that is at work."""
    command = Command(tmp_path, *ENDLESS, cache="one")
    command.wait_for_epochs()
    yield command
    command.kill()


@pytest.fixture
def other(one: Command, tmp_path: Path) -> Iterator[Command]:
    """The same comparison, at work in another process with a cache of its own."""
    command = Command(tmp_path, *ENDLESS, cache="other")
    trained = {"comparison", "panel"}
    wait_until(lambda: len([run for run in one.runs() if run.data.metrics]) == len(trained), "epochs of the other")
    yield command
    command.kill()


@pytest.mark.timeout(400)
def test_two_people_work_on_the_same_and_on_another(one: Command, other: Command, tmp_path: Path) -> None:
    assert [*read_comparisons(one).values()] == [{"RUNNING"}, {"RUNNING"}]
    one.process.send_signal(signal.SIGINT)
    one.process.communicate(timeout=60)
    working, ended = sorted(read_comparisons(other).items(), key=lambda item: "RUNNING" not in item[1])
    assert working[1] == {"RUNNING"}
    assert ended[1] <= CLOSED
    # The one whose process is killed is closed by the next, whatever that compares.
    other.kill()
    third = Command(tmp_path, "compare", "--panel", "most-frequent", cache="third")
    printed, _ = third.process.communicate(timeout=200)
    assert third.process.returncode == 0, printed
    found = read_comparisons(third)
    assert (found[working[0]], found[ended[0]], len(found)) == ({"KILLED"}, ended[1], 3)


@pytest.mark.timeout(400)
def test_a_comparison_is_continued_from_the_store_alone(one: Command, tmp_path: Path) -> None:
    one.process.send_signal(signal.SIGINT)
    one.process.communicate(timeout=60)
    [comparison] = read_comparisons(one)
    again = Command(tmp_path, *ENDLESS, cache="another")
    try:
        wait_until(lambda: "RUNNING" in read_comparisons(again)[comparison], "the comparison")
        again.wait_for_epochs()
        assert set(read_comparisons(again)) == {comparison}
    finally:
        again.kill()

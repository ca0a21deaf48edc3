"""Several processes on one store, each with a cache of its own: nobody closes or continues what another works on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.forks import ENDLESS, Command, Forks
from helpers.wholeness import Work
from triptych.tracking.tags import COMPARISON, read_tags

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(600)]
CLOSED = {"FAILED", "KILLED"}
PANELS = ("numpy-mlp", "torch-mlp")
SETTINGS = ("numpy_mlp.epochs=5", "torch_mlp.epochs=5")


def read_comparisons(command: Command) -> dict[str, set[str]]:
    """Return the statuses of the runs of each comparison in the store."""
    statuses: dict[str, set[str]] = {}
    for run in (run for run in command.runs() if COMPARISON in read_tags(run)):
        statuses.setdefault(read_tags(run)[COMPARISON], set()).add(run.info.status)
    return statuses


@pytest.fixture
def one(forks: Forks, tmp_path: Path) -> Iterator[Command]:
    """A comparison that is at work."""
    command = forks.start(tmp_path, *ENDLESS, cache="one")
    command.wait_for_epochs()
    yield command
    command.kill()


@pytest.fixture
def other(one: Command, forks: Forks, tmp_path: Path) -> Iterator[Command]:
    """The same comparison, at work in another process with a cache of its own."""
    command = forks.start(tmp_path, *ENDLESS, cache="other")
    command.wait_until(lambda: len([run for run in one.runs() if run.data.metrics]) == 2, "epochs of the other")
    yield command
    command.kill()


def test_two_people_work_on_the_same_and_on_another(one: Command, other: Command, forks: Forks, tmp_path: Path) -> None:
    assert [*read_comparisons(one).values()] == [{"RUNNING"}, {"RUNNING"}]
    one.send(signal.SIGINT)
    one.wait_for_end(60)
    working, ended = sorted(read_comparisons(other).items(), key=lambda item: "RUNNING" not in item[1])
    assert working[1] == {"RUNNING"}
    assert ended[1] <= CLOSED
    # The one whose process is killed is closed by the next, whatever that compares.
    other.kill()
    third = forks.start(tmp_path, "compare", "--panel", "most-frequent", cache="third")
    third.finish()
    found = read_comparisons(third)
    assert (found[working[0]], found[ended[0]], len(found)) == ({"KILLED"}, ended[1], 3)


def test_a_comparison_is_continued_from_the_store_alone(one: Command, forks: Forks, tmp_path: Path) -> None:
    one.send(signal.SIGINT)
    one.wait_for_end(60)
    [comparison] = read_comparisons(one)
    again = forks.start(tmp_path, *ENDLESS, cache="another")
    try:
        again.wait_until(lambda: "RUNNING" in read_comparisons(again)[comparison], "the comparison")
        again.wait_for_epochs()
        assert set(read_comparisons(again)) == {comparison}
    finally:
        again.kill()


def test_six_comparisons_at_once_on_a_new_store_lose_nothing(forks: Forks, tmp_path: Path) -> None:
    works = [Work(PANELS, (*SETTINGS, f"split.seed={seed}")) for seed in range(6)]
    new = tmp_path / "new.db"
    commands = [forks.start(tmp_path, *work.arguments, store=new) for work in works]
    for command in commands:
        command.finish()
    comparisons = read_comparisons(commands[0])
    assert [*comparisons.values()] == [{"FINISHED"}] * 6
    for comparison in comparisons:
        works[0].check(commands[0], comparison=comparison)

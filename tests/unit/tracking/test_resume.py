from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from triptych.config.resolve import resolve_config
from triptych.data.boards import PreparedBoard, prepare_board
from triptych.errors import ConcurrentRunError
from triptych.panels.identity import identify_comparison
from triptych.tracking import ComparisonRecord, StudyRecord, start_comparison, start_study, trial_run
from triptych.tracking.resume import locks
from triptych.tracking.tags import FLOW_RUN, PREFIX
from triptych.training.jobs import PanelJob


@pytest.fixture(scope="module")
def prepared() -> PreparedBoard:
    return prepare_board(resolve_config("digits", panels=["numpy-mlp"]).boards[0])


@pytest.fixture
def client(own_store: str) -> MlflowClient:
    return MlflowClient(own_store)


@pytest.mark.usefixtures("own_store")
def test_a_comparison_is_taken_up_by_the_same_board_only(prepared: PreparedBoard) -> None:
    first = start_comparison(prepared, {}, identify_comparison(prepared))
    # Another process that starts while this one works opens its own.
    second = start_comparison(prepared, {}, identify_comparison(prepared))
    assert second.comparison != first.comparison
    locks.release(first.comparison)
    again = start_comparison(prepared, {}, identify_comparison(prepared))
    assert (again.comparison, again.run_id) == (first.comparison, first.run_id)
    locks.release(first.comparison)
    other = resolve_config("digits", panels=["numpy-mlp"], settings=["numpy_mlp.epochs=7"]).boards[0]
    changed = prepare_board(other)
    assert identify_comparison(changed) != identify_comparison(prepared)
    third = start_comparison(changed, {}, identify_comparison(changed))
    assert third.comparison not in {first.comparison, second.comparison}


def begin(prepared: PreparedBoard, flow_run: str, *, fresh: bool = False) -> ComparisonRecord:
    return start_comparison(prepared, {FLOW_RUN: flow_run}, identify_comparison(prepared), fresh=fresh)


def test_a_flow_run_that_starts_again_takes_up_its_own_also_where_everything_is_to_be_fresh(
    prepared: PreparedBoard, client: MlflowClient
) -> None:
    others = begin(prepared, "others")
    locks.release(others.comparison)
    first = begin(prepared, "one", fresh=True)
    assert first.comparison != others.comparison
    # A step of the same process that is run again.
    assert begin(prepared, "one", fresh=True).comparison == first.comparison
    locks.release(first.comparison)
    client.set_tag(first.run_id, PREFIX + "host", "a machine that is gone")
    assert begin(prepared, "another").comparison != first.comparison
    again = begin(prepared, "one", fresh=True)
    assert again.comparison == first.comparison
    assert again.fresh_since is not None
    assert again.fresh_since == pytest.approx(first.fresh_since, abs=2)
    locks.release(again.comparison)


@pytest.mark.usefixtures("own_store")
def test_two_processes_of_one_flow_run_do_not_work_on_the_same(prepared: PreparedBoard) -> None:
    first = begin(prepared, "one")
    # As if another process had it.
    lock = locks._held.pop(first.comparison)
    with pytest.raises(ConcurrentRunError, match=f"flow run one is working on comparison {first.comparison}"):
        begin(prepared, "one")
    lock.release()


def test_abandoned_trials_of_a_study_are_closed_and_others_are_not(
    prepared: PreparedBoard, client: MlflowClient
) -> None:
    job = PanelJob(prepared, "numpy-mlp", 0)

    def open_study(flow_run: str) -> tuple[StudyRecord, str]:
        study = start_study(prepared, "numpy-mlp", "a study", (), {FLOW_RUN: flow_run})
        with trial_run(study, job, 0) as run_id:
            return study, run_id

    def status(run_id: str) -> str:
        return str(client.get_run(run_id).info.status)

    study, killed = open_study("killed")
    locks.release("killed")  # as the operating system does
    working = open_study("working")[1]
    assert status(killed) == "KILLED"
    again = open_study("a third")[0]
    assert again.run_id == study.run_id
    assert (status(working), status(study.run_id)) == ("RUNNING", "RUNNING")
    locks.release("working")
    open_study("working")
    assert status(working) == "KILLED"
    for flow_run in ("working", "a third"):
        locks.release(flow_run)


def test_what_nobody_works_on_is_closed(prepared: PreparedBoard, client: MlflowClient) -> None:
    abandoned = start_comparison(prepared, {}, identify_comparison(prepared))
    locks.release(abandoned.comparison)
    held = start_comparison(prepared, {}, "another", fresh=True)
    assert client.get_run(abandoned.run_id).info.status == "KILLED"
    start_comparison(prepared, {}, "a third", fresh=True)
    assert client.get_run(held.run_id).info.status == "RUNNING"


def test_only_one_process_can_hold_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    assert locks.acquire("one")
    assert not locks.acquire("one")
    locks.release("one")
    assert locks.acquire("one")
    locks.release("one")
    assert not list(tmp_path.rglob("*.lock"))

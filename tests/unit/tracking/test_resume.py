from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from triptych.config.resolve import resolve_config
from triptych.data.boards import PreparedBoard, prepare_board
from triptych.errors import ConcurrentRunError
from triptych.panels.identity import identify_comparison
from triptych.system.processes import ProcessMark
from triptych.tracking.leases import LEASE_SECONDS, Lease, own_leases
from triptych.tracking.records import ComparisonRecord, StudyRecord
from triptych.tracking.resume import name_share
from triptych.tracking.runs import start_comparison
from triptych.tracking.studies import start_study, trial_run
from triptych.tracking.tags import FLOW_RUN, LEASE, PREFIX
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
    own_leases.release(first.run_id)
    again = start_comparison(prepared, {}, identify_comparison(prepared))
    assert (again.comparison, again.run_id) == (first.comparison, first.run_id)
    own_leases.release(first.run_id)
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
    own_leases.release(others.run_id)
    first = begin(prepared, "one", fresh=True)
    assert first.comparison != others.comparison
    # A step of the same process that is run again.
    assert begin(prepared, "one", fresh=True).comparison == first.comparison
    own_leases.release(first.run_id)
    client.set_tag(first.run_id, PREFIX + "host", "a machine that is gone")
    assert begin(prepared, "another").comparison != first.comparison
    again = begin(prepared, "one", fresh=True)
    assert again.comparison == first.comparison
    assert again.fresh_since is not None
    assert again.fresh_since == pytest.approx(first.fresh_since, abs=2)
    own_leases.release(again.run_id)


def work_elsewhere(client: MlflowClient, run_id: str, name: str = LEASE, *, seconds_ago: float = 0.0) -> None:
    """Let a process of another machine hold a run instead of this one."""
    own_leases.release(run_id, name)
    lease = replace(Lease.now(), process=ProcessMark("another-machine", 1, 0.0))
    client.set_tag(run_id, PREFIX + name, str(replace(lease, renewed=lease.renewed - seconds_ago)))


def test_two_processes_of_one_flow_run_do_not_work_on_the_same(prepared: PreparedBoard, client: MlflowClient) -> None:
    first = begin(prepared, "one")
    work_elsewhere(client, first.run_id)
    with pytest.raises(ConcurrentRunError, match=f"flow run one is working on comparison {first.comparison}"):
        begin(prepared, "one")


def test_what_another_machine_works_on_is_left_to_it_until_its_lease_runs_out(
    prepared: PreparedBoard, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = start_comparison(prepared, {}, identify_comparison(prepared))
    work_elsewhere(client, there.run_id)
    # With a cache that the two don't share.
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    here = start_comparison(prepared, {}, identify_comparison(prepared))
    assert here.comparison != there.comparison
    assert client.get_run(there.run_id).info.status == "RUNNING"
    own_leases.release(here.run_id)
    work_elsewhere(client, there.run_id, seconds_ago=LEASE_SECONDS + 1)
    own_leases.release(start_comparison(prepared, {}, "another identity").run_id)
    assert client.get_run(there.run_id).info.status == "KILLED"


def test_abandoned_trials_of_a_study_are_closed_and_others_are_not(
    prepared: PreparedBoard, client: MlflowClient
) -> None:
    job = PanelJob(prepared, "numpy-mlp", 0)

    def open_study(flow_run: str) -> tuple[StudyRecord, str]:
        study = start_study(prepared, "numpy-mlp", "a study", (), {FLOW_RUN: flow_run})
        with trial_run(study, job, 0, {}) as run:
            return study, run.run_id

    def status(run_id: str) -> str:
        return str(client.get_run(run_id).info.status)

    study, killed = open_study("killed")
    # As where the process is killed, and its machine knows that.
    own_leases.release(study.run_id, name_share("killed"))
    client.set_tag(
        study.run_id,
        PREFIX + name_share("killed"),
        str(replace(Lease.now(), process=replace(ProcessMark.of_this_process(), started=0.0))),
    )
    working = open_study("working")[1]
    assert status(killed) == "KILLED"
    again = open_study("a third")[0]
    assert again.run_id == study.run_id
    assert (status(working), status(study.run_id)) == ("RUNNING", "RUNNING")
    work_elsewhere(client, study.run_id, name_share("working"))
    with pytest.raises(ConcurrentRunError, match="another process of flow run working is at work"):
        open_study("working")
    assert status(working) == "RUNNING"
    work_elsewhere(client, study.run_id, name_share("working"), seconds_ago=LEASE_SECONDS + 1)
    open_study("working")
    assert status(working) == "KILLED"
    for flow_run in ("working", "a third"):
        own_leases.release(study.run_id, name_share(flow_run))


def test_what_nobody_works_on_is_closed(prepared: PreparedBoard, client: MlflowClient) -> None:
    abandoned = start_comparison(prepared, {}, identify_comparison(prepared))
    own_leases.release(abandoned.run_id)
    held = start_comparison(prepared, {}, "another", fresh=True)
    assert client.get_run(abandoned.run_id).info.status == "KILLED"
    start_comparison(prepared, {}, "a third", fresh=True)
    assert client.get_run(held.run_id).info.status == "RUNNING"

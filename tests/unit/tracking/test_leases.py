"""Leases: a process that is at work is left alone, by processes with caches of their own and by other machines."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from triptych.errors import ConcurrentRunError
from triptych.system.processes import ProcessMark
from triptych.tracking import leases as module
from triptych.tracking.leases import CLAIM_SECONDS, LEASE_SECONDS, Lease, Leases, is_leased, read_claims, read_lease
from triptych.tracking.tags import LEASE, PREFIX

ELSEWHERE = ProcessMark("another-machine/1a2b3c4d/4026531836", 1, 0.0)


@pytest.fixture
def client(own_store: str) -> MlflowClient:
    return MlflowClient(own_store)


@pytest.fixture
def run(client: MlflowClient) -> Run:
    """A run that nobody has worked on."""
    return client.create_run("0")


def lease_of_another(generation: int = 0) -> Lease:
    """Return a lease of a process on another machine, which was renewed just now."""
    return replace(Lease.now(generation), process=ELSEWHERE)


def test_a_lease_is_read_as_it_was_written() -> None:
    lease = Lease(3, ProcessMark("laptop/1a2b", 4711, 1.25), 2.0)
    assert Lease.read(str(lease)) == lease
    assert Lease.read(f"{lease} and what else a claim holds") == lease


@pytest.mark.parametrize("text", ["", "0 free", "nonsense", "0 2 machine 1", "x 3 machine 1 2"])
def test_anything_else_is_no_lease(text: str) -> None:
    assert Lease.read(text) is None
    assert not is_leased(text, [])


def test_on_this_machine_a_lease_ends_with_its_process() -> None:
    lease = Lease.now()
    # However long it was suspended.
    assert replace(lease, renewed=0.0).is_live()
    assert not replace(lease, process=replace(lease.process, started=0.0)).is_live()


def test_elsewhere_a_lease_runs_out() -> None:
    lease = lease_of_another()
    assert lease.is_live()
    assert not replace(lease, renewed=lease.renewed - LEASE_SECONDS - 1).is_live()


def test_a_run_is_taken_over_once(client: MlflowClient, run: Run) -> None:
    with ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(lambda one: one.take(client, run), [Leases() for _ in range(4)]))
    assert sum(taken) == 1
    [claim] = read_claims(client.get_run(run.info.run_id))
    assert Lease.read(claim) is not None
    assert not Leases().take(client, client.get_run(run.info.run_id)), "this process is at work on it"


def test_a_run_that_is_released_is_free_again(client: MlflowClient, run: Run) -> None:
    first, second = Leases(), Leases()
    for generation, (one, next_one) in enumerate([(first, second), (second, first)], start=1):
        assert one.take(client, client.get_run(run.info.run_id))
        assert one.holds(run.info.run_id)
        assert not one.take(client, client.get_run(run.info.run_id))
        assert not next_one.take(client, client.get_run(run.info.run_id))
        one.release(run.info.run_id)
        assert read_lease(client.get_run(run.info.run_id)) == f"{generation} free"


def test_a_claim_counts_until_its_process_has_had_time_to_write_a_lease() -> None:
    old, claim = replace(lease_of_another(), renewed=0.0), lease_of_another(1)
    assert is_leased(str(old), [str(claim)])
    assert not is_leased(str(old), [str(replace(claim, renewed=claim.renewed - CLAIM_SECONDS - 1))])
    died = replace(claim, process=replace(ProcessMark.of_this_process(), started=0.0))
    assert not is_leased(str(old), [str(died)])
    assert not is_leased("1 free", [str(claim)]), "it was released"


def test_leases_are_renewed_until_another_machine_has_the_run(
    client: MlflowClient, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_RENEWALS", 0.02)
    run_id, own = run.info.run_id, Leases()
    own.hold(client, run_id)

    def wait_until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def read() -> Lease | None:
        return Lease.read(read_lease(client.get_run(run_id)))

    client.set_tag(run_id, PREFIX + LEASE, str(lease_of_another()))
    wait_until(lambda: (found := read()) is not None and found.process.is_local)
    own.require(run_id)
    claim = lease_of_another(1)
    client.log_param(run_id, "claim.1", str(claim))
    wait_until(lambda: not own.holds(run_id))
    client.set_tag(run_id, PREFIX + LEASE, str(claim))
    with pytest.raises(ConcurrentRunError, match="another machine has taken over"):
        own.require(run_id)
    own.release(run_id)
    assert read() == Lease.read(str(claim)), "it is the other machine's"


def test_a_process_that_slept_longer_than_its_lease_looks_before_it_writes(
    client: MlflowClient, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, own = run.info.run_id, Leases()
    own.hold(client, run_id)
    client.log_param(run_id, "claim.1", str(lease_of_another(1)))
    own.require(run_id)
    monkeypatch.setattr(module, "LEASE_SECONDS", -1.0)
    with pytest.raises(ConcurrentRunError, match="another machine has taken over"):
        own.require(run_id)

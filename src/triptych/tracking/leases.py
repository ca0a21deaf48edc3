"""Leases: which process is working on a run, as tags of the run in MLflow, for all machines that share the store.

A process writes its lease to a run and renews it while it works. On the machine of the process the lease ends with the
process, which the operating system knows at once; on any other machine it runs out. A run whose lease has ended is
taken over with a parameter of MLflow, which can be written only once: of several processes one succeeds.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field, replace

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, ErrorCode

from triptych.errors import ConcurrentRunError
from triptych.system.processes import ProcessMark
from triptych.tracking.tags import LEASE, PREFIX, read_tags, set_tags

SECONDS_BETWEEN_RENEWALS = 20.0
# Without a renewal for this long, a process of another machine counts as dead. It bridges a tracking server that is
# away for a minute, and clocks that differ by some seconds.
LEASE_SECONDS = 120.0
# The time that a process has between its claim on a run and its lease.
CLAIM_SECONDS = 30.0
CLAIM = "claim."
FREE = "free"


@dataclass(frozen=True)
class Lease:
    """A process that works on a run.

    Attributes:
        generation: how often the run was taken over.
        process: the process.
        renewed: when the lease was written, in seconds since 1970.
    """

    generation: int
    process: ProcessMark
    renewed: float

    @classmethod
    def now(cls, generation: int = 0) -> Lease:
        """Return a lease of this process."""
        return cls(generation, ProcessMark.of_this_process(), time.time())

    @classmethod
    def read(cls, text: str) -> Lease | None:
        """Return the lease that a tag or a claim holds; None for an empty, freed or unreadable one."""
        with suppress(ValueError):
            generation, renewed, mark = text.split(maxsplit=2)
            if process := ProcessMark.read(mark):
                return cls(int(generation), process, float(renewed))
        return None

    def __str__(self) -> str:
        return f"{self.generation} {self.renewed:.0f} {self.process}"

    def is_live(self) -> bool:
        """Return whether its process is at work: on this machine the process exists, elsewhere the lease is fresh."""
        return self.process.exists() if self.process.is_local else time.time() - self.renewed < LEASE_SECONDS


@dataclass
class _Held:
    client: mlflow.MlflowClient
    generation: int
    renewed: float = field(default_factory=time.time)


class Leases:
    """The leases of this process, renewed by a thread."""

    def __init__(self) -> None:
        """Start without a lease."""
        self._held: dict[tuple[str, str], _Held] = {}
        self._lost: set[str] = set()
        self._changes = threading.Lock()
        self._renewing: threading.Thread | None = None

    def hold(self, client: mlflow.MlflowClient, run_id: str, name: str = LEASE, *, generation: int = 0) -> None:
        """Write a lease to a run and renew it until it is released.

        Args:
            client: of the tracking store.
            run_id: MLflow's id of the run.
            name: of the tag; a run that several processes share has one for each.
            generation: how often the run was taken over.
        """
        set_tags(client, run_id, {name: str(Lease.now(generation))})
        with self._changes:
            self._lost.discard(run_id)
            self._held[run_id, name] = _Held(client, generation)
            if self._renewing is None:
                self._renewing = threading.Thread(target=self._renew_all, name="leases", daemon=True)
                self._renewing.start()

    def take(self, client: mlflow.MlflowClient, run: Run) -> bool:
        """Take over a run that no process is working on; return whether this process has it now."""
        tag, claims = read_lease(run), read_claims(run)
        if self.holds(run.info.run_id) or is_leased(tag, claims):
            return False
        claim = replace(Lease.now(), generation=len(claims) + 1)
        try:
            client.log_param(run.info.run_id, f"{CLAIM}{claim.generation}", f"{claim} {uuid.uuid4().hex}")
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(INVALID_PARAMETER_VALUE):
                raise
            return False  # another process was faster
        self.hold(client, run.info.run_id, generation=claim.generation)
        return True

    def release(self, run_id: str, name: str = LEASE) -> None:
        """Give a lease back, if this process holds it."""
        with self._changes:
            held = self._held.pop((run_id, name), None)
        if held is None:
            return
        if name == LEASE:
            set_tags(held.client, run_id, {name: f"{held.generation} {FREE}"})
        else:
            held.client.delete_tag(run_id, PREFIX + name)

    def holds(self, run_id: str, name: str = LEASE) -> bool:
        """Return whether this process holds a lease."""
        return (run_id, name) in self._held

    def list_held(self) -> list[tuple[mlflow.MlflowClient, str]]:
        """Return the clients and ids of the runs that this process holds a lease on."""
        return [(held.client, run_id) for (run_id, _), held in list(self._held.items())]

    def require(self, run_id: str) -> None:
        """Check that no other machine has taken a run over, which may happen while this process is suspended.

        Raises:
            ConcurrentRunError: another process is working on it.
        """
        held = self._held.get((run_id, LEASE))
        if held is not None and time.time() - held.renewed > LEASE_SECONDS:
            self._renew(run_id, LEASE, held)
        if run_id in self._lost:
            raise ConcurrentRunError(
                f"another machine has taken over MLflow run {run_id}, because this process did not renew its lease "
                f"for {LEASE_SECONDS:.0f} seconds: let that machine finish it"
            )

    def _renew_all(self) -> None:
        while True:
            time.sleep(SECONDS_BETWEEN_RENEWALS)
            for (run_id, name), held in list(self._held.items()):
                # Whatever the tracking server answers, the next attempt follows; the work itself meets the error, too.
                with suppress(Exception):
                    self._renew(run_id, name, held)

    def _renew(self, run_id: str, name: str, held: _Held) -> None:
        if name == LEASE and len(read_claims(held.client.get_run(run_id))) > held.generation:
            with self._changes:
                self._held.pop((run_id, name), None)
                self._lost.add(run_id)
            return
        # A lease that was released in the meantime stays released.
        if self._held.get((run_id, name)) is held:
            set_tags(held.client, run_id, {name: str(Lease.now(held.generation))})
            held.renewed = time.time()


# Of this process.
own_leases = Leases()


def read_lease(run: Run, name: str = LEASE) -> str:
    """Return the tag that holds a lease on a run; empty if the run never had one."""
    return read_tags(run).get(name, "")


def read_claims(run: Run) -> list[str]:
    """Return the claims on a run, the oldest first."""
    claims = {name: value for name, value in run.data.params.items() if name.startswith(CLAIM)}
    return [claims[name] for name in sorted(claims, key=lambda name: int(name.removeprefix(CLAIM)))]


def is_leased(tag: str, claims: list[str]) -> bool:
    """Return whether a process is working on a run.

    Args:
        tag: the lease.
        claims: the claims on the run, the last of which may be newer than the lease.
    """
    generation = int(first) if (first := tag.partition(" ")[0]).isdecimal() else 0
    if len(claims) > generation:
        claim = Lease.read(claims[-1])
        return claim is not None and time.time() - claim.renewed < CLAIM_SECONDS and claim.is_live()
    lease = Lease.read(tag)
    return lease is not None and lease.is_live()

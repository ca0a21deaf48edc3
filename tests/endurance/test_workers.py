"""Work on a real Dask cluster on this machine: whole comparisons and studies, and a worker that is killed."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from distributed import Client, LocalCluster
from distributed.security import Security
from prefect import flow
from prefect.settings import get_current_settings
from prefect.task_runners import ThreadPoolTaskRunner
from prefect_dask.task_runners import DaskTaskRunner

from flows.embedding import submit_embedding
from helpers.waiting import free_port, wait_until
from triptych.config.resolve import resolve_config
from triptych.data.boards import PreparedBoard, prepare_board
from triptych.orchestration.runners import start_cluster
from triptych.tracking.tags import read_tags, select
from triptych.transfer.records import EmbeddingRecord, count_shards

pytestmark = [pytest.mark.endurance, pytest.mark.long, pytest.mark.timeout(900)]
PANEL = "shufflenet_v2_x0_5"
IMAGES = 1797


@flow
def embed_board(prepared: PreparedBoard) -> EmbeddingRecord:
    opened: Any = SimpleNamespace(prepared=prepared, backbones=[PANEL])
    submitted = submit_embedding(opened)
    for step in submitted.steps:
        step.result()
    assert submitted.records is not None
    return submitted.records.result().record_of(PANEL)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    """Two worker processes of one core each, which share a cache on a path that all see, and the store of "there"."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "shared"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'there' / 'mlflow.db'}")
    # Dask's own folder for what workers spill, which else lies where the tests are started.
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path / "dask", host="127.0.0.1"
    ) as started:
        yield started


def kill_a_worker_when_some_shards_are_there(cluster: LocalCluster, store: Path, killed: list[int]) -> None:
    while len(list(store.rglob("*.npy"))) < 2:
        time.sleep(0.01)
    with Client(cluster) as client:
        pid = next(iter(client.run(os.getpid).values()))
    os.kill(pid, signal.SIGKILL)
    killed.append(pid)


# Three workers are started in all, each of which imports everything.
@pytest.mark.usefixtures("prefect_server")
def test_a_killed_worker_changes_nothing(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = resolve_config("digits", panels=[PANEL]).boards[0]
    killed: list[int] = []
    arguments = (cluster, tmp_path / "shared" / "embeddings", killed)
    killer = threading.Thread(target=kill_a_worker_when_some_shards_are_there, args=arguments)
    killer.start()
    runner: Any = DaskTaskRunner(address=cluster.scheduler_address)
    on_dask = embed_board.with_options(task_runner=runner)
    record = on_dask(prepare_board(board))
    killer.join()
    assert killed
    assert record.images == IMAGES
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "alone"))
    # The workers have one thread each, too: more of them add up in another order.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads: Any = ThreadPoolTaskRunner()
    alone = embed_board.with_options(task_runner=threads)(prepare_board(board))
    assert len(record.shards) == len(alone.shards) == count_shards(IMAGES) > 2
    for there, here in zip(record.shards, alone.shards, strict=True):
        assert there.relative_to(tmp_path / "shared") == here.relative_to(tmp_path / "alone")
        assert there.read_bytes() == here.read_bytes()


# Seven workers are started in all.
@pytest.mark.usefixtures("prefect_server")
def test_workers_of_the_command_give_what_threads_give_and_end_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("distributed"), "propagate", True)
    board = resolve_config("digits", panels=[PANEL]).boards[0]
    start: Any = start_cluster
    contents = {}
    for workers in (0, 1, 2, 4):
        monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / str(workers)))
        options = {"modules": ["prefect_dask", "triptych.transfer.plan"], "workers": workers}
        dask: Any = DaskTaskRunner(cluster_class=start, cluster_kwargs=options)
        threads: Any = ThreadPoolTaskRunner()
        record = embed_board.with_options(task_runner=dask if workers else threads)(prepare_board(board))
        assert record.images == IMAGES
        # The later clusters work in the environment of their own time, not in that of the first one.
        assert all(shard.is_relative_to(tmp_path / str(workers)) for shard in record.shards)
        contents[workers] = record.contents
    assert len(set(contents.values())) == 1, contents
    assert not [line for line in caplog.messages if "killing" in line]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_command_that_is_ended(number: int, tmp_path: Path) -> None:
    environment = os.environ | {
        "TRIPTYCH_CACHE_HOME": str(tmp_path / "cache"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "PREFECT_HOME": str(tmp_path / "prefect"),
        # Shows Dask's warnings.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
    }
    endless = ["--set", "numpy_mlp.epochs=100000", "--set", "torch_mlp.epochs=100000"]
    panels = ["--panel", "numpy-mlp", "--panel", "torch-mlp"]
    command = [str(Path(sys.executable).with_name("triptych")), "compare", *panels, *endless, "--runner", "dask"]
    log = tmp_path / "log"
    with log.open("w") as output:
        started = subprocess.Popen(command, env=environment, stdout=output, stderr=output, process_group=0)
    wait_until(lambda: any((tmp_path / "cache").rglob("epoch-*.npz")), "a first epoch", process=started, log=log)
    # A terminal interrupts the workers, too; other signals are for the command alone.
    (os.killpg if number == signal.SIGINT else os.kill)(started.pid, number)
    assert started.wait(120)
    wait_until(lambda: not is_alive(started.pid), "the end of the workers", log=log)
    text = log.read_text(encoding="utf-8")
    assert "still alive after" not in text  # Dask's warning before it kills a worker
    assert "Process Dask Worker process" not in text  # Python's, before a traceback


def test_a_cluster_with_certificates_trains_and_refuses_commands_without(tmp_path: Path) -> None:
    made = Security.temporary()
    contents = {"CA_FILE": made.tls_ca_file}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        contents |= {f"{role}__CERT": made.tls_client_cert, f"{role}__KEY": made.tls_client_key}
    homes = {
        "TRIPTYCH_CACHE_HOME": str(tmp_path / "cache"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    secrets = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        secrets[f"DASK_DISTRIBUTED__COMM__TLS__{name}"] = str(tmp_path / name)
    port = free_port()
    address = f"tls://127.0.0.1:{port}"
    options = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    dask = str(Path(sys.executable).with_name("dask"))
    triptych = str(Path(sys.executable).with_name("triptych"))
    panel = ["--panel", "numpy-mlp", "--set", "numpy_mlp.epochs=2"]
    compare = [triptych, "compare", *panel, "--runner", f"dask:{address}"]
    environment = os.environ | homes | secrets
    with ExitStack() as started:
        for command in (
            [dask, "scheduler", "--protocol", "tls", "--port", str(port), *options],
            [dask, "worker", address, "--nthreads", "1", "--local-directory", str(tmp_path), *options],
        ):
            process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            started.callback(process.wait)
            started.callback(process.terminate)
        wait_until(lambda: is_open(port), "the scheduler")
        refused = subprocess.run(compare, env=os.environ | homes, check=False, capture_output=True, text=True)
        assert refused.returncode == 2
        assert "needs certificates" in refused.stderr
        trained = subprocess.run(compare, env=environment, check=False, capture_output=True, text=True)
        assert trained.returncode == 0, trained.stderr[-2500:]


def is_open(port: int) -> bool:
    """Return whether something listens on a port of this machine."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def is_alive(group: int) -> bool:
    """Return whether any process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def run_pipeline(home: Path, cache: Path, *arguments: str) -> None:
    environment = {
        **os.environ,
        **get_current_settings().to_environment_variables(exclude_unset=True),
        "TRIPTYCH_CACHE_HOME": str(cache),
        "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}",
        "OMP_NUM_THREADS": "1",
    }
    command = [str(Path(sys.executable).with_name("triptych")), *arguments]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-600:] + done.stderr[-2500:]


def find_measured(home: Path, role: str, metrics: tuple[str, ...]) -> dict[tuple[str, ...], list[float]]:
    """Return what was measured of each run of a role."""
    client = mlflow.MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], select({"role": role}))
    assert {run.info.status for run in runs} == {"FINISHED"}
    return {
        (read_tags(run).get("panel", ""), run.info.run_name): [run.data.metrics[name] for name in metrics]
        for run in runs
    }


# Two commands on threads and two on the cluster, whose workers import everything.
@pytest.mark.usefixtures("prefect_server")
def test_comparisons_and_studies_on_a_cluster_give_what_threads_give(cluster: LocalCluster, tmp_path: Path) -> None:
    work = {
        "panel": (["compare", "--set", "repeats=2"], ("val_loss", "test_log_loss", "test_accuracy")),
        "trial": (["tune", "numpy-mlp", "--trials", "3", "--workers", "1"], ("val_loss",)),
    }
    # Caches of their own: trials that one study has, the other would find.
    runners = (("here", "alone", "threads"), ("there", "shared", f"dask:{cluster.scheduler_address}"))
    for home, cache, runner in runners:
        (tmp_path / home).mkdir()
        for command, _ in work.values():
            run_pipeline(tmp_path / home, tmp_path / cache, *command, "--runner", runner)
    for role, (_, metrics) in work.items():
        here, there = (find_measured(tmp_path / home, role, metrics) for home in ("here", "there"))
        assert len(here) == {"panel": 2 * len(resolve_config("digits").boards[0].panels), "trial": 3}[role]
        assert there == here

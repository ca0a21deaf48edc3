"""Nights on real servers and a real worker: late runs, killed processes, a power failure, machines of another pool."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import mlflow
import psutil
import pytest
import yaml
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from helpers.epochs import count_epochs
from helpers.waiting import free_port, wait_until
from triptych.config.resolve import resolve_config
from triptych.tracking.tags import read_tags

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
EPOCHS = count_epochs(resolve_config("digits").boards[0])
# Twice the time between two signs of life, of which the test has one every half minute.
SECONDS = {"triptych: a run that fell silent goes on": 60, "triptych: a run that crashed goes on": 20}

pytestmark = [pytest.mark.endurance, pytest.mark.long, pytest.mark.timeout(1200)]


def runs(process: int) -> bool:
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Machine:
    """What `make serve` starts, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        ports = {"PREFECT_PORT": str(free_port()), "MLFLOW_PORT": str(free_port())}
        self.folder = folder
        self.api = f"http://127.0.0.1:{ports['PREFECT_PORT']}/api"
        self.tracking = f"http://127.0.0.1:{ports['MLFLOW_PORT']}"
        shown = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_LOGGING")}
        self.environment = {
            **shown,
            **ports,
            "BIN": str(BIN),
            "SERVE_HOME": str(folder / "serve"),
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder / 'mlflow.db'}",
            "MLFLOW_DEFAULT_ARTIFACT_ROOT": (folder / "artifacts").as_uri(),
            "TRIPTYCH_CACHE_HOME": str(folder / "cache"),
            "PREFECT_API_URL": self.api,
            "PREFECT_FILE": str(self.write_deployments()),
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "MLFLOW_TRACKING_URI": self.tracking,
        }

    def serve(self, command: str) -> None:
        done = subprocess.run(
            [ROOT / "mlflow" / "serve.sh", command], env=self.environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        user, password = "triptych", (self.folder / "serve" / "password").read_text().strip()
        self.environment["PREFECT_API_AUTH_STRING"] = f"{user}:{password}"
        self.environment |= {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}

    def prefect(self, *arguments: str) -> None:
        command = [str(BIN / "prefect"), "--no-prompt", *arguments]
        subprocess.run(command, cwd=ROOT, env=self.environment, check=True, capture_output=True)

    def connect_prefect(self) -> SyncPrefectClient:
        return SyncPrefectClient(self.api, auth_string=self.environment["PREFECT_API_AUTH_STRING"])

    def start_run(self, deployment: str, **parameters: Any) -> str:
        """Have a deployment run now, and return the id of the flow run."""
        with self.connect_prefect() as client:
            found = client.read_deployment_by_name(deployment)
            return str(client.create_flow_run_from_deployment(found.id, parameters=parameters).id)

    def read_run(self, flow_run: str) -> Any:
        with self.connect_prefect() as client:
            return client.read_flow_run(UUID(flow_run))

    def state(self, flow_run: str) -> str:
        return str(self.read_run(flow_run).state.name)

    def wait_for(self, flow_run: str, state: str, seconds: float = 300) -> None:
        wait_until(lambda: self.state(flow_run) == state, f"flow run {state}", seconds)

    def kill_flow_runs(self, flow_run: str | None = None) -> None:
        """Kill what the workers started, all or one, and nothing else."""
        for process in psutil.process_iter(["cmdline", "environ"]):
            environment = process.info["environ"] or {}
            ours = environment.get("PREFECT_API_URL") == self.api
            meant = flow_run is None or environment.get("PREFECT__FLOW_RUN_ID") == flow_run
            if ours and meant and "prefect.engine" in (process.info["cmdline"] or []):
                process.kill()

    def cut_the_power(self) -> None:
        for file in (self.folder / "serve").glob("*.pid"):
            with suppress(ProcessLookupError):
                os.killpg(int(file.read_text().split()[0]), signal.SIGKILL)
        self.kill_flow_runs()

    def stop_worker(self, name: str = "worker") -> None:
        worker = int((self.folder / "serve" / f"{name}.pid").read_text().split()[0])
        os.killpg(worker, signal.SIGTERM)
        wait_until(lambda: not runs(worker), "end of the worker", 30)

    def start_worker(self, pool: str = "local-process", name: str = "worker", **environment: str) -> None:
        """Start a worker, which `stop` ends with the servers if it has the name of theirs."""
        command = [str(BIN / "prefect"), "worker", "start", "--pool", pool, "--type", "process"]
        environment = {**self.environment, **environment}
        with (self.folder / "serve" / f"{name}.log").open("ab") as log:
            worker = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        (self.folder / "serve" / f"{name}.pid").write_text(f"{worker.pid}\n{' '.join(command)}\n")

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.environment["MLFLOW_BACKEND_STORE_URI"])

    def runs(self, flow_run: str | None = None) -> list[Any]:
        """Return the runs of the digits, all or those that a flow run was the last to work on."""
        experiment = self.client.get_experiment_by_name("digits")
        query = f"tags.`prefect.flow_run_id` = '{flow_run}'" if flow_run else ""
        return list(self.client.search_runs([experiment.experiment_id], query)) if experiment else []

    def write_deployments(self) -> Path:
        """Write those of the project with automations that wait for a minute at most."""
        described = yaml.safe_load((ROOT / "automations.yaml").read_text())
        for automation in described["automations"]:
            automation["trigger"]["within"] = SECONDS[automation["name"]]
        hurried = self.folder / "automations.yaml"
        hurried.write_text(yaml.safe_dump(described))
        deployments = self.folder / "prefect.yaml"
        deployments.write_text((ROOT / "prefect.yaml").read_text().replace("automations.yaml", str(hurried)))
        return deployments


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    machine.serve("start")
    yield machine
    machine.serve("stop")


def check_comparison(machine: Machine, flow_run: str) -> None:
    """One run for each panel, each metric once for each epoch, nothing left open."""
    runs = machine.runs(flow_run)
    assert sorted(read_tags(run).get("panel", "comparison") for run in runs) == sorted([*EPOCHS, "comparison"])
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        if panel := read_tags(run).get("panel"):
            points = machine.client.get_metric_history(run.info.run_id, "val_accuracy")
            assert [point.step for point in points] == list(range(1, EPOCHS[panel] + 1))


def test_late_runs_are_one(machine: Machine) -> None:
    machine.stop_worker()
    late = [machine.start_run("compare/digits") for _ in range(4)]
    machine.start_worker()
    ended = ["Cancelled", "Cancelled", "Cancelled", "Completed"]
    wait_until(lambda: sorted(map(machine.state, late)) == ended, "late runs", 300)
    [done] = [flow_run for flow_run in late if machine.state(flow_run) == "Completed"]
    check_comparison(machine, done)


def test_a_killed_run_goes_on_as_the_same(machine: Machine) -> None:
    flow_run = machine.start_run("compare/digits", config={"preset": "digits", "fresh": True})
    wait_until(lambda: len(machine.runs(flow_run)) > 1, "panel", 300)
    machine.kill_flow_runs()
    machine.wait_for(flow_run, "Crashed", 120)
    machine.wait_for(flow_run, "Completed")
    assert machine.read_run(flow_run).run_count == 2
    check_comparison(machine, flow_run)


@pytest.fixture
def webhook() -> Iterator[tuple[str, queue.Queue[dict[str, str]]]]:
    """The address of a page that messages are posted to, and those that have arrived."""
    arrived: queue.Queue[dict[str, str]] = queue.Queue()

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", arrived
        server.shutdown()


def test_a_failed_night_is_told_as_the_documentation_says(
    machine: Machine, webhook: tuple[str, queue.Queue[dict[str, str]]]
) -> None:
    address, arrived = webhook
    password = machine.environment["PREFECT_API_AUTH_STRING"]
    with temporary_settings({PREFECT_API_URL: machine.api, PREFECT_API_AUTH_STRING: password}):
        json_data = {"title": "{{subject}}", "text": "{{body}}"}
        block = CustomWebhookNotificationBlock(name="webhook", url=address, json_data=json_data).save("webhook")
    [described] = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "machines.md").read_text(), re.DOTALL)
    notification = machine.folder / "notification.yaml"
    notification.write_text(described.replace("ID", str(block)))
    machine.prefect("automation", "create", "--from-file", str(notification))
    flow_run = machine.start_run("compare/digits", config={"preset": "photos", "data": "/no/such/folder"})
    machine.wait_for(flow_run, "Failed")
    message = arrived.get(timeout=60)
    assert message["title"] == f"triptych: {machine.read_run(flow_run).name} Failed"
    assert "'/no/such/folder'" in message["text"]
    assert flow_run in message["text"]
    assert arrived.empty()


@pytest.fixture
def gpus(machine: Machine) -> Iterator[str]:
    """A worker of the pool `gpu` with a cache of its own, as another machine has it."""
    machine.start_worker("gpu", "gpus", TRIPTYCH_CACHE_HOME=str(machine.folder / "another"))
    log = machine.folder / "serve" / "gpus.log"
    wait_until(lambda: "started!" in log.read_text(), "worker", 60)
    machine.start_worker("cpu", "cpus")
    wait_until(lambda: "started!" in log.with_name("cpus.log").read_text(), "worker", 60)
    machine.prefect("deploy", "--all", "--prefect-file", "machines.yaml")
    yield "gpu"
    for name in ("gpus", "cpus"):
        machine.stop_worker(name)


def test_panels_are_trained_by_the_machines_of_their_pools_even_if_one_is_killed(machine: Machine, gpus: str) -> None:
    config = resolve_config("digits", settings=[f"pools.transfer={gpus}"]).model_copy(update={"fresh": True})
    flow_run = machine.start_run("compare/digits", config=config.model_dump(mode="json"))
    by_panel: dict[str, Any] = {}

    def find_panels() -> bool:
        here = machine.runs(flow_run)
        comparison = read_tags(here[0])["comparison"] if here else ""
        found = [run for run in machine.runs() if read_tags(run).get("comparison") == comparison]
        by_panel.update({read_tags(run).get("panel", "comparison"): run for run in found})
        return "shufflenet_v2_x0_5" in by_panel

    wait_until(find_panels, "panel", 300)
    there = by_panel["shufflenet_v2_x0_5"].data.tags["prefect.flow_run_id"]
    machine.kill_flow_runs(there)
    machine.wait_for(there, "Completed", 300)
    machine.wait_for(flow_run, "Completed")
    find_panels()
    assert machine.read_run(there).work_pool_name == gpus
    assert machine.read_run(there).run_count == 2
    assert {name: read_tags(run)["prefect.flow_run_id"] for name, run in by_panel.items()} == {
        "comparison": flow_run,
        **dict.fromkeys(EPOCHS, flow_run),
        "shufflenet_v2_x0_5": there,
    }
    assert {run.info.status for run in by_panel.values()} == {"FINISHED"}
    assert all("test_accuracy" in run.data.metrics for name, run in by_panel.items() if name != "comparison")
    # The embeddings were computed where the panel was trained.
    assert list((machine.folder / "another").rglob("embeddings"))
    assert "reported" in read_tags(by_panel["comparison"])


def test_after_a_power_failure_the_same_run_goes_on_and_later_ones_are_not_refused(machine: Machine) -> None:
    flow_run = machine.start_run("compare/digits", config={"preset": "digits", "fresh": True})
    wait_until(lambda: len(machine.runs(flow_run)) > 1, "panel", 300)
    machine.cut_the_power()
    machine.serve("start")
    machine.wait_for(flow_run, "Completed", 300)
    check_comparison(machine, flow_run)
    # Prefect keeps back for some minutes how a run ended that began before the servers did; here silence is shorter.
    machine.prefect("automation", "pause", "triptych: a run that fell silent goes on")
    next_night = machine.start_run("compare/digits")
    machine.wait_for(next_night, "Completed")
    check_comparison(machine, next_night)

"""Servers for a team, as their unit files start them: PostgreSQL, MLflow with passwords, Prefect, and a worker."""

from __future__ import annotations

import base64
import getpass
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import mlflow
import numpy as np
import psycopg2
import pytest
import yaml
from mlflow.exceptions import MlflowException
from mlflow.server import get_app_client

from helpers.pages import Reader, make_reader, read_text
from helpers.waiting import ask, free_port, wait_until
from triptych.config.resolve import resolve_config
from triptych.data.boards import load_board, prepare_board
from triptych.tracking.client import connect
from triptych.tracking.queries import find_recorded
from triptych.tracking.tags import read_tags

ROOT = Path(__file__).parents[2]
SERVERS = ROOT / "mlflow"
BIN = Path(sys.executable).parent
ANN, PASSWORD = "ann", "correct horse battery"
PAGE = "docs/servers.md"
PIPELINES, PANELS, EPOCHS = 6, 3, 5

pytestmark = [pytest.mark.endurance, pytest.mark.long, pytest.mark.timeout(900)]


@contextmanager
def started(command: list[str], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes to a log file, interrupted in the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Team:
    """Where the servers of the tests are, and the settings in place of the files in `mlflow/team`."""

    folder: Path
    settings: dict[str, str]
    prefect_port: int
    mlflow_port: int

    @property
    def mlflow(self) -> str:
        return f"http://127.0.0.1:{self.mlflow_port}"

    @property
    def client(self) -> dict[str, str]:
        """The environment of a client of the servers."""
        own = {name: self.settings[name] for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")}
        own |= {name: value for name, value in self.settings.items() if name.startswith("MLFLOW_TRACKING_")}
        return {**os.environ, **own, "PREFECT_HOME": str(self.folder / "home")}

    def here(self, text: str) -> str:
        """Return a text of the unit files with the places and ports of the tests."""
        places = {
            "/opt/triptych/.venv/bin": str(BIN),
            "/opt/triptych": str(ROOT),
            "/var/lib": str(self.folder),
            "4200": str(self.prefect_port),
            "5000": str(self.mlflow_port),
        }
        return re.sub("|".join(places), lambda there: places[there[0]], text)

    @contextmanager
    def unit(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start what a unit file starts, in the environment that systemd would make."""
        unit = read_unit(name)
        files = [Path(file).stem for file in unit["EnvironmentFile"]]
        own = {key: self.settings[key] for file in files for key in read_example(file)}
        environment = {**os.environ, **own, "PYTHONPATH": os.pathsep.join(sys.path)}
        environment |= dict(self.here(setting).split("=", 1) for setting in unit["Environment"])
        folder = Path(self.here(unit["WorkingDirectory"][0]))
        folder.mkdir(exist_ok=True)
        subprocess.run(shlex.split(self.here(unit["ExecStartPre"][0])), env=environment, check=True)
        command = shlex.split(self.here(unit["ExecStart"][0]))
        with started(command, self.folder / f"{name}.log", env=environment, cwd=folder) as process:
            yield process

    def flow_run(self, flow_run_id: str) -> dict[str, Any]:
        """Ask Prefect for a flow run."""
        user = base64.b64encode(self.settings["PREFECT_API_AUTH_STRING"].encode()).decode()
        address = f"{self.settings['PREFECT_API_URL']}/flow_runs/{flow_run_id}"
        with urlopen(Request(address, headers={"Authorization": f"Basic {user}"}), timeout=30) as answer:  # noqa: S310
            return dict(json.load(answer))


def read_unit(name: str) -> dict[str, list[str]]:
    """Return the settings of a unit file, each with all its lines."""
    settings: dict[str, list[str]] = {}
    for line in (SERVERS / "systemd" / f"triptych-{name}.service").read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals:
            settings.setdefault(key, []).append(value)
    return settings


def read_example(file: str) -> dict[str, str]:
    """Return the settings of one of the example files."""
    lines = (SERVERS / "team" / f"{file}.env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def postgres() -> Iterator[dict[str, str]]:
    """A new PostgreSQL on a free port of this machine, as the environment variables of its clients."""
    installed = [str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    found = shutil.which("initdb", path=os.pathsep.join([*installed, os.environ["PATH"]]))
    if found is None:
        pytest.skip("needs PostgreSQL: there is no initdb under /usr/lib/postgresql nor on PATH")
    programs = Path(found).resolve().parent
    # PostgreSQL refuses to run as root, and its own user may not enter pytest's folders.
    user = "postgres" if os.geteuid() == 0 else getpass.getuser()
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    (folder / "password").write_text("correct horse battery", encoding="utf-8")
    for path in (folder, folder / "password"):
        shutil.chown(path, user)
    other: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}
    run = partial(subprocess.run, cwd=folder, check=True, stdout=subprocess.DEVNULL, **other)
    port = free_port()
    try:
        create = ["-D", "data", "--username=triptych", "--pwfile=password", "--auth=scram-sha-256", "--no-sync"]
        run([programs / "initdb", *create])
        serve = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        run([programs / "pg_ctl", "-D", "data", "-l", "log", "-w", "-o", serve, "start"])
        yield {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGUSER": "triptych",
            "PGPASSWORD": (folder / "password").read_text(encoding="utf-8"),
        }
        run([programs / "pg_ctl", "-D", "data", "-w", "-m", "fast", "stop"])
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def team(postgres: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Both servers on PostgreSQL, and the users `worker` and `ann`."""
    team = Team(tmp_path_factory.mktemp("team"), {}, free_port(), free_port())
    for file in ("prefect", "mlflow", "worker"):
        for name, value in read_example(file).items():
            team.settings[name] = team.here(value).replace("change-me", PASSWORD)
    team.settings.update(postgres)
    create_databases(postgres)
    with ExitStack() as servers:
        prefect, tracking = (servers.enter_context(team.unit(name)) for name in ("prefect", "mlflow"))
        wait_until(lambda: ask(f"{team.settings['PREFECT_API_URL']}/health") == 200, "Prefect", 120, prefect)
        wait_until(lambda: ask(f"{team.mlflow}/health") == 200, "MLflow", 120, tracking)
        with acting_as("admin", team):
            for user in ("worker", ANN):
                get_app_client("basic-auth", team.mlflow).create_user(user, PASSWORD)
        yield team


def create_databases(postgres: dict[str, str]) -> None:
    own = {name.removeprefix("PG").lower(): value for name, value in postgres.items()}
    connection = psycopg2.connect(dbname="postgres", **own)
    connection.autocommit = True
    for database in ("prefect", "mlflow", "mlflow_auth"):
        connection.cursor().execute(f"CREATE DATABASE {database}")
    connection.close()


@contextmanager
def acting_as(user: str, team: Team) -> Iterator[None]:
    """Reach the team's MLflow server as one of its users."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", team.mlflow)
        patch.setenv("MLFLOW_TRACKING_USERNAME", user)
        patch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        yield
    connect()  # back to the store of the other tests


def test_only_users_get_in_and_only_by_the_names_allowed(team: Team) -> None:
    experiments = f"{team.mlflow}/api/2.0/mlflow/experiments/get?experiment_id=0"
    ann = "Basic " + base64.b64encode(f"{ANN}:{PASSWORD}".encode()).decode()
    assert ask(experiments) == 401
    assert ask(experiments, Authorization=ann) == 200
    assert ask(experiments, Authorization=ann, Host="elsewhere.example.org") == 403
    assert ask(f"{team.settings['PREFECT_API_URL']}/admin/version") == 401


def test_a_schedule_runs_without_a_person_and_a_second_user_reads_the_result(team: Team, tmp_path: Path) -> None:
    settings = ["numpy_mlp.epochs=30", "torch_mlp.epochs=2", "transfer.epochs=2"]
    config = resolve_config("digits", settings=settings)
    with team.unit("worker") as worker:
        wait_until(lambda: "started!" in (team.folder / "worker.log").read_text(), "worker", 60, worker)
        deploy(team, tmp_path / "prefect.yaml", {"config": config.model_dump(mode="json")})
        with acting_as(ANN, team):
            wait_until(lambda: find_finished("digits"), "scheduled run", 200, worker)
            flow_run_id = find_finished("digits")[0].data.tags["prefect.flow_run_id"]
        wait_until(lambda: team.flow_run(flow_run_id)["state_type"] == "COMPLETED", "flow run", 30, worker)
    assert team.flow_run(flow_run_id)["auto_scheduled"]
    with acting_as(ANN, team):
        [recorded] = find_recorded()
        assert {panel.panel for panel in recorded.panels} == set(config.boards[0].panels)
        runs = [connect().get_run(panel.run_id) for panel in recorded.panels]
        assert {run.info.status for run in runs} == {"FINISHED"}
        by_hand: Any = next(run for run in runs if read_tags(run)["panel"] == "numpy-mlp")
        assert read_tags(by_hand)["prefect.flow_run_id"] == flow_run_id
        model = mlflow.pyfunc.load_model(f"models:/{by_hand.outputs.model_outputs[0].model_id}")
        with pytest.raises(MlflowException, match="Permission denied"):
            connect().set_tag(by_hand.info.run_id, "seen", "by ann")
    with acting_as("admin", team):
        get_app_client("basic-auth", team.mlflow).grant_user_permission(ANN, "experiment", "*", "EDIT")
    with acting_as(ANN, team):
        connect().set_tag(by_hand.info.run_id, "seen", "by ann")
    data = load_board(prepare_board(config.boards[0]))
    images = np.stack([data.images[index] for index in data.split.test])
    right = model.predict(images).to_numpy().argmax(axis=1) == data.labels[data.split.test]
    assert right.mean() == pytest.approx(by_hand.data.metrics["test_accuracy"])


def deploy(team: Team, file: Path, parameters: dict[str, Any]) -> None:
    """Deploy the comparison, due at the next full minute that is at least ten seconds ahead."""
    due = datetime.now(UTC) + timedelta(seconds=70)
    deployment = {
        "name": "soon",
        "entrypoint": "flows/compare.py:compare",
        "parameters": parameters,
        "schedules": [{"cron": f"{due.minute} {due.hour} * * *", "timezone": "UTC"}],
        "work_pool": {"name": "local-process"},
    }
    pull = [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}]
    file.write_text(yaml.safe_dump({"name": "triptych", "pull": pull, "deployments": [deployment]}))
    command = [str(BIN / "prefect"), "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
    subprocess.run(command, cwd=ROOT, env=team.client, check=True, capture_output=True)


def find_finished(experiment: str) -> list[Any]:
    """Return the finished runs named `comparison` of an experiment."""
    found = connect().get_experiment_by_name(experiment)
    wanted = "tags.`triptych.role` = 'comparison' and attributes.status = 'FINISHED'"
    return list(connect().search_runs([found.experiment_id], wanted)) if found else []


def test_six_pipelines_at_once_lose_nothing(team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = team.client | {"TRIPTYCH_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, str(ROOT / "tests" / "helpers" / "pipelines_at_once.py"), str(PIPELINES), str(EPOCHS)]
    began = datetime.now(UTC).timestamp() * 1000
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for name in ("URI", "USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", environment[f"MLFLOW_TRACKING_{name}"])
    client = connect()
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    started = client.search_runs([experiment.experiment_id], f"attributes.start_time > {began:.0f}")
    runs = [run for run in started if read_tags(run)["role"] != "history"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    panels = [run for run in runs if read_tags(run)["role"] == "panel"]
    assert (len(panels), len(runs)) == (PANELS * PIPELINES, (PANELS + 1) * PIPELINES)
    for run in panels:
        for name in ("train_loss", "val_loss", "val_log_loss", "train_accuracy", "val_accuracy", "epoch_seconds"):
            steps = [point.step for point in client.get_metric_history(run.info.run_id, name)]
            assert steps == list(range(1, EPOCHS + 1))


def test_the_page_about_servers_runs_as_written(team: Team, tmp_path: Path) -> None:
    reader = make_reader(tmp_path)
    own = {
        # `make serve`, further up on the page, has the reader's own ports.
        "127.0.0.1:4200": f"127.0.0.1:{team.prefect_port}",
        "127.0.0.1:5000": f"127.0.0.1:{team.mlflow_port}",
        "ADMIN_PASSWORD": PASSWORD,
        "TEAM_PASSWORD": PASSWORD,
        # Users whom the team does not have yet.
        '"worker"': '"another-worker"',
        f'"{ANN}"': '"bea"',
        f"USERNAME={ANN}": "USERNAME=bea",
    }
    settings = "".join(f"{name}={shlex.quote(team.settings[name])}\n" for name in read_example("postgres"))
    (reader.checkout / "mlflow" / "team" / "postgres.env").write_text(settings, encoding="utf-8")
    with team.unit("worker") as worker:
        wait_until(lambda: "started!" in (team.folder / "worker.log").read_text(), "worker", 60, worker)
        Reader(tmp_path, reader.places | own).read(PAGE, read_text(PAGE))
    with acting_as("admin", team):
        assert find_finished("digits")

"""`make serve` and `make stop`: both servers and a worker on this machine; and what a team's files say."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
UNITS = sorted((ROOT / "mlflow" / "systemd").glob("*.service"))
SECRETS = {
    *("PGPASSWORD", "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING", "MLFLOW_AUTH_ADMIN_PASSWORD"),
    *("MLFLOW_FLASK_SERVER_SECRET_KEY", "MLFLOW_TRACKING_PASSWORD"),
}


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return str(listening.getsockname()[1])


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Ports and folders of its own."""
    return {
        **os.environ,
        "BIN": str(BIN),
        "SERVE_HOME": str(tmp_path / "serve"),
        "PREFECT_PORT": free_port(),
        "MLFLOW_PORT": free_port(),
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": (tmp_path / "artifacts").as_uri(),
    }


def serve(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    script = ROOT / "mlflow" / "serve.sh"
    return subprocess.run([script, command], env=environment, check=False, capture_output=True, text=True)


@pytest.fixture
def served(environment: dict[str, str]) -> Iterator[subprocess.CompletedProcess[str]]:
    yield serve("start", environment)
    serve("stop", environment)


def test_serve_starts_both_servers_and_a_worker_and_stop_ends_them(
    served: subprocess.CompletedProcess[str], environment: dict[str, str]
) -> None:
    assert served.returncode == 0, served.stderr
    prefect, mlflow = (f"http://127.0.0.1:{environment[name]}" for name in ("PREFECT_PORT", "MLFLOW_PORT"))
    assert served.stdout.startswith(f"Prefect  {prefect}\nMLflow   {mlflow}\n")
    headers = {"Content-Type": "application/json"}
    for path in ("deployments/filter", "work_pools/local-process/workers/filter"):
        with urlopen(Request(f"{prefect}/api/{path}", b"{}", headers), timeout=30) as answer:  # noqa: S310
            assert json.load(answer)
    with urlopen(f"{prefect}/ui-settings", timeout=30) as answer:  # noqa: S310
        assert json.load(answer)["api_url"] == f"{prefect}/api"
    with urlopen(f"{mlflow}/health", timeout=30) as answer:  # noqa: S310
        assert answer.status == 200
    again = serve("start", environment)
    assert (again.returncode, again.stdout) == (0, "The servers are running already; `make stop` stops them.\n")
    pids = [int(file.read_text().split()[0]) for file in Path(environment["SERVE_HOME"]).glob("*.pid")]
    assert len(pids) == 3
    assert serve("stop", environment).stdout == "Stopped: worker mlflow prefect\n"
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.killpg(pid, 0)


@pytest.mark.parametrize("name", ["PREFECT_PORT", "MLFLOW_PORT"])
def test_a_taken_port_is_named_and_nothing_starts(name: str, environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", int(environment[name]))):
        refused = serve("start", environment)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"serve: port {environment[name]} is in use or invalid: "
        f"stop the program that uses it, or choose another with `make serve {name}=...`\n"
    )
    assert not Path(environment["SERVE_HOME"]).exists()


def test_a_server_that_ends_at_once_is_named_and_the_other_ended(environment: dict[str, str]) -> None:
    refused = serve("start", environment | {"MLFLOW_BACKEND_STORE_URI": "nonsense://store"})
    log = Path(environment["SERVE_HOME"]) / "mlflow.log"
    assert refused.returncode == 2
    assert refused.stderr == f"serve: mlflow ended before it was ready: see {log}\n"
    assert not list(log.parent.glob("*.pid"))
    socket.create_server(("127.0.0.1", int(environment["PREFECT_PORT"]))).close()


def test_a_process_that_took_over_a_pid_is_left_alone(environment: dict[str, str]) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    home = Path(environment["SERVE_HOME"])
    home.mkdir()
    (home / "prefect.pid").write_text(f"{stranger.pid}\n{BIN}/prefect server start\n")
    try:
        assert serve("stop", environment).stdout == "Stopped: nothing, because nothing of this checkout was running\n"
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_containers_run_what_the_units_run() -> None:
    compose = yaml.safe_load((ROOT / "mlflow" / "compose.yaml").read_text())
    for unit in UNITS:
        command = compose["services"][unit.stem.removeprefix("triptych-")]["command"]
        assert f"ExecStart=/opt/triptych/.venv/bin/{command}".replace("0.0.0.0", "127.0.0.1") in unit.read_text()  # noqa: S104
    assert all(re.search(r":\d+\.\d+", service["image"]) for service in compose["services"].values())


def test_no_file_holds_a_secret_and_each_service_sees_its_own_alone() -> None:
    compose = yaml.safe_load((ROOT / "mlflow" / "compose.yaml").read_text())
    for service in compose["services"].values():
        for name in SECRETS & set(service["environment"]):
            assert service["environment"][name] == f"${{{name}:?}}"
    assert SECRETS & set(compose["services"]["worker"]["environment"]) == {
        "PREFECT_API_AUTH_STRING",
        "MLFLOW_TRACKING_PASSWORD",
    }
    example = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "mlflow" / "team.env.example").read_text(), re.MULTILINE))
    assert {name for name, value in example.items() if value.endswith("change-me")} == SECRETS
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "mlflow/team.env"], cwd=ROOT, check=False)
    assert ignored.returncode == 0


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    for unit in UNITS:
        text = unit.read_text().replace("/opt/triptych/.venv/bin", str(BIN)).replace("/opt/triptych", str(ROOT))
        (tmp_path / unit.name).write_text(re.sub("User=.*", "User=root", text))
    verified = subprocess.run(
        ["systemd-analyze", "verify", *tmp_path.iterdir()], check=False, capture_output=True, text=True
    )
    assert (verified.returncode, verified.stderr) == (0, "")

"""`make serve` and `make stop`: both servers and a worker on this machine; and what a team's files say."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import sqlite3
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
import yaml

from helpers.browser import CHROMIUM, opened_tab
from helpers.serving import BIN, ROOT, make_environment, serve
from helpers.waiting import wait_until
from triptych.config.resolve import resolve_config

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

UNITS = sorted((ROOT / "mlflow" / "systemd").glob("*.service"))
EXAMPLES = sorted((ROOT / "mlflow" / "team").glob("*.env.example"))
SECRETS = {
    "mlflow": {"MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"},
    "postgres": {"PGPASSWORD"},
    "prefect": {"PREFECT_SERVER_API_AUTH_STRING"},
    "worker": {"PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_PASSWORD"},
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return make_environment(tmp_path)


@dataclass(frozen=True)
class Served:
    """What `make serve` started, and what it printed."""

    environment: dict[str, str]
    done: subprocess.CompletedProcess[str]

    @property
    def home(self) -> Path:
        return Path(self.environment["SERVE_HOME"])

    @property
    def password(self) -> str:
        return (self.home / "password").read_text().strip()

    @property
    def prefect(self) -> str:
        return f"http://127.0.0.1:{self.environment['PREFECT_PORT']}"

    @property
    def mlflow(self) -> str:
        return f"http://127.0.0.1:{self.environment['MLFLOW_PORT']}"

    @property
    def pids(self) -> list[int]:
        return [int(file.read_text().split()[0]) for file in self.home.glob("*.pid")]

    def ask(self, address: str, body: bytes | None = None, *, allowed: bool = True, **headers: str) -> Any:
        """Return what a server answers, as the user who has the password or as another one: JSON, or the status."""
        if allowed:
            headers["Authorization"] = "Basic " + base64.b64encode(f"triptych:{self.password}".encode()).decode()
        try:
            with urlopen(Request(address, body, {"Content-Type": "application/json", **headers}), timeout=30) as answer:  # noqa: S310
                return json.load(answer)
        except HTTPError as error:
            return error.code

    def client(self) -> SyncPrefectClient:
        from prefect.client.orchestration import SyncPrefectClient

        return SyncPrefectClient(f"{self.prefect}/api", auth_string=f"triptych:{self.password}")

    def experiments(self) -> set[str]:
        found = self.ask(f"{self.mlflow}/api/2.0/mlflow/experiments/search", b'{"max_results": 99}')
        return {experiment["name"] for experiment in found["experiments"]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    environment = make_environment(tmp_path_factory.mktemp("served"))
    yield Served(environment, serve("start", environment))
    serve("stop", environment)


def test_serve_starts_both_servers_and_a_worker(served: Served) -> None:
    assert served.done.returncode == 0, served.done.stderr
    assert served.done.stdout.startswith(f"Prefect  {served.prefect}\nMLflow   {served.mlflow}\n")
    with served.client() as client:
        assert client.read_deployment_by_name("compare/digits").work_pool_name == "local-process"
        pool = {"work_pool_name": "local-process"}
        workers = client.request(
            "POST", "/work_pools/{work_pool_name}/workers/filter", path_params=pool, json={}
        ).json()
    assert [worker["status"] for worker in workers] == ["ONLINE"]
    settings = served.ask(f"{served.prefect}/ui-settings")
    assert (settings["api_url"], settings["auth"]) == (f"{served.prefect}/api", "BASIC")
    assert served.experiments() == {"Default"}
    again = serve("start", served.environment)
    assert (again.returncode, again.stdout) == (0, "The servers are running already; `make stop` stops them.\n")


def test_the_users_own_commands_find_the_servers_by_the_file_that_serve_names(served: Served) -> None:
    assert served.done.stdout.endswith(f"For your own commands: source {served.home}/env\n")
    command = 'source "$1/env"; "$2/triptych" show; "$2/prefect" --no-prompt deployment ls'
    shell = ["bash", "-c", command, "bash", str(served.home), str(BIN)]
    done = subprocess.run(shell, env=served.environment, check=True, capture_output=True, text=True)
    assert done.stderr.startswith("no comparison yet")
    assert "compare/digits" in done.stdout


@pytest.mark.parametrize(("server", "password"), [("MLFLOW_TRACKING", ""), ("PREFECT_API", "triptych:guess@")])
def test_who_lacks_the_password_reads_where_it_is(server: str, password: str, served: Served) -> None:
    addresses = {"MLFLOW_TRACKING_URI": served.mlflow, "PREFECT_API_URL": f"{served.prefect}/api"}
    given = {name: url.replace("//", f"//{password}") for name, url in addresses.items() if name.startswith(server)}
    command = [str(BIN / "triptych"), "compare", "--panel", "most-frequent"]
    own = served.environment | {"PREFECT_HOME": str(served.home.parent / "client")} | given
    refused = subprocess.run(command, env=own, check=False, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout.strip()) == (2, "")
    assert re.fullmatch(
        r"triptych: the .*server at .* wants another .*: set .* with `source mlflow/serve/env`\n", refused.stderr
    )
    assert "guess" not in refused.stderr


def test_a_password_in_an_address_reaches_no_record_and_no_line(served: Served) -> None:
    address = {"PREFECT_API_URL": f"{served.prefect}/api", "MLFLOW_TRACKING_URI": served.mlflow}
    user = f"//triptych:{served.password}@"
    own = served.environment | {name: value.replace("//", user) for name, value in address.items()}
    command = [str(BIN / "triptych"), "compare", "--panel", "most-frequent", "--debug"]
    with subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        shown = [next(process.stdout), list_processes(), process.stdout.read()]
    assert process.returncode == 0, shown[2]
    assert f"{served.mlflow}/#/experiments" in shown[2]
    assert not [text for text in shown if served.password in text]
    secrets = {served.home / "password", served.home / "env"}
    files = {file for file in served.home.parent.rglob("*") if file.is_file()} - secrets
    assert {file.name for file in files} > {"mlflow.db", "prefect.db", "report.html"}
    assert not [file for file in files if served.password.encode() in file.read_bytes()]


def list_processes() -> str:
    return subprocess.run(["ps", "-eww", "-o", "args="], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    "path",
    [
        *("prefect/api/admin/version", "prefect/api/flows/filter", "prefect/api/csrf-token?client=x"),
        *("mlflow/", "mlflow/signup", "mlflow/graphql", "mlflow/ajax-api/2.0/mlflow/experiments/create"),
        *("mlflow/api/2.0/mlflow/users/create", "mlflow/get-artifact?run_uuid=x&path=y"),
    ],
)
@pytest.mark.parametrize("body", [None, b'{"name": "intruder"}'])
def test_without_the_password_every_door_is_closed(path: str, body: bytes | None, served: Served) -> None:
    server, _, path = path.partition("/")
    address = f"{getattr(served, server)}/{path}"
    assert served.ask(address, body, allowed=False) in {401, 403}
    wrong = base64.b64encode(b"triptych:guess").decode()
    assert served.ask(address, body, allowed=False, Authorization=f"Basic {wrong}") in {401, 403}


def test_another_user_of_the_machine_does_not_learn_the_password(served: Served) -> None:
    assert stat.S_IMODE(served.home.stat().st_mode) == 0o700
    assert stat.S_IMODE((served.home / "password").stat().st_mode) == 0o600
    assert len(served.password) > 40
    for shown in (list_processes(), served.done.stdout, *(file.read_text() for file in served.home.glob("*.log"))):
        assert served.password not in shown


INTRUDER = """<!doctype html><iframe name="hidden"></iframe><script>
const body = JSON.stringify({name: "intruder"});
const text = {"Content-Type": "text/plain"}, json = {"Content-Type": "application/json"};
const kinds = [{headers: text, mode: "no-cors"}, {headers: text}, {headers: json}];
async function intrude(addresses) {
  const read = [];
  for (const address of addresses)
    for (const kind of kinds)
      for (const credentials of ["omit", "include"])
        for (const asked of [{...kind, method: "POST", body}, {...kind, method: "GET"}])
          try {
            const answer = await fetch(address, {...asked, credentials});
            if (answer.ok) read.push(`${asked.method} ${address}`);
          } catch {}
  for (const action of addresses) {
    const form = document.createElement("form");
    Object.assign(form, {action, method: "post", enctype: "text/plain", target: "hidden"});
    const field = document.createElement("input");
    [field.name, field.value] = ['{"name": "intruder", "x": "', '"}'];
    form.append(field);
    document.body.append(form);
    form.submit();
    await new Promise(done => document.querySelector("iframe").addEventListener("load", done, {once: true}));
  }
  return read;
}
async function listen(address) {
  return await new Promise(done => {
    const socket = new WebSocket(address, ["prefect"]);
    socket.onopen = () => socket.send('{"type": "auth", "token": null}');
    socket.onmessage = message => done(message.data);
    socket.onclose = socket.onerror = () => done("closed");
  });
}
</script>"""


@pytest.fixture
def intruder() -> Iterator[str]:
    """The address of a page of another origin, which another user of this machine might serve."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(INTRUDER.encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
def test_a_page_of_another_origin_gets_nothing_done_even_where_the_user_is_logged_in(
    served: Served, intruder: str, tmp_path: Path
) -> None:
    with opened_tab(tmp_path) as tab:
        tab.call("Page.navigate", url=served.prefect)
        tab.wait("!!document.querySelector('form input')")
        tab.evaluate("document.querySelector('form input').focus()")
        tab.call("Input.insertText", text=f"triptych:{served.password}")
        tab.evaluate("document.querySelector('form button').click()")
        tab.wait("document.body.innerText.includes('Flow Runs')")
        tab.call("Page.navigate", url=served.mlflow.replace("//", f"//triptych:{served.password}@"))
        tab.wait("document.body.innerText.includes('Experiments')")
        assert {urlsplit(address).hostname for address in tab.requests if address.startswith("http")} == {"127.0.0.1"}
        tab.call("Page.navigate", url=intruder)
        tab.wait("document.readyState === 'complete' && typeof intrude === 'function'")
        api = f"{served.mlflow}/api/2.0/mlflow/experiments/create"
        addresses = [f"{served.prefect}/api/flows/", api, api.replace("/api/", "/ajax-api/")]
        assert tab.evaluate(f"intrude({json.dumps(addresses)})") == []
        socket = served.prefect.replace("http", "ws") + "/api/events/in"
        assert tab.evaluate(f"listen({json.dumps(socket)})") == "closed"
    assert "intruder" not in served.experiments()
    with served.client() as client:
        assert "intruder" not in {flow.name for flow in client.read_flows()}


def test_stop_closes_a_run_in_both_servers(served: Served) -> None:
    config = resolve_config("digits", panels=["numpy-mlp"], settings=["numpy_mlp.epochs=100000"])
    with served.client() as client:
        deployment = client.read_deployment_by_name("compare/digits")
        parameters = {"config": config.model_dump(mode="json")}
        flow_run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters).id
    tracked = served.environment["MLFLOW_BACKEND_STORE_URI"].removeprefix("sqlite:///")
    select_runs = "select name, status from runs"
    wait_until(lambda: ("numpy-mlp", "RUNNING") in query(tracked, select_runs), "panel", 120)
    pids = served.pids
    assert len(pids) == 3
    assert serve("stop", served.environment).stdout == "Stopped: worker mlflow prefect\n"
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.killpg(pid, 0)
    assert "RUNNING" not in dict(query(tracked, select_runs)).values()
    assert ("numpy-mlp", "FAILED") in query(tracked, select_runs)
    states = query(served.home / "prefect" / "prefect.db", "select id, state_name from flow_run")
    assert dict(states)[str(flow_run)] == "Crashed"


def query(file: str | Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute(statement).fetchall()


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
    refused = serve("start", environment | {"PREFECT_SERVER_DATABASE_TIMEOUT": "never"})
    log = Path(environment["SERVE_HOME"]) / "prefect.log"
    assert refused.returncode == 2
    assert refused.stderr == f"serve: prefect ended before it was ready: see {log}\n"
    assert not list(log.parent.glob("*.pid"))
    socket.create_server(("127.0.0.1", int(environment["MLFLOW_PORT"]))).close()


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


def read_settings(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", file.read_text(), re.MULTILINE))


def test_no_file_holds_a_secret_and_each_service_sees_its_own_alone() -> None:
    examples = {file.name.removesuffix(".env.example"): read_settings(file) for file in EXAMPLES}
    found = {
        name: {key for key, value in example.items() if value.endswith("change-me")}
        for name, example in examples.items()
    }
    assert found == SECRETS
    services = yaml.safe_load((ROOT / "mlflow" / "compose.yaml").read_text())["services"]
    for service, unit in zip(("mlflow", "prefect", "worker"), UNITS, strict=True):
        files = re.findall(r"^EnvironmentFile=/etc/triptych/(\w+)\.env$", unit.read_text(), re.MULTILINE)
        assert files == (["worker"] if service == "worker" else ["postgres", service])
        assert services[service]["env_file"] == f"team/{service}.env"
        assert ("PGPASSWORD" in services[service]["environment"]) == ("postgres" in files)
        # What it may not start without is what it is given.
        names = sorted(set().union(*(SECRETS[file] for file in files)))
        [required] = re.findall(r"^ExecStartPre=(\S+) (.*)$", unit.read_text(), re.MULTILINE)
        assert sorted(required[1].split()) == names
        script, *listed, end = services[service]["entrypoint"]
        assert (script, sorted(listed), end) == (required[0], names, "--")
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "mlflow/team/mlflow.env"], cwd=ROOT, check=False)
    assert ignored.returncode == 0


@pytest.mark.parametrize("value", [None, "", "team:", "change-me", "team:change-me", "team:short", "elevenchars"])
def test_nothing_starts_with_a_secret_of_the_examples(value: str | None) -> None:
    given = {} if value is None else {"PREFECT_SERVER_API_AUTH_STRING": value}
    command = [str(ROOT / "mlflow" / "require-secrets.sh"), "PGPASSWORD", "PREFECT_SERVER_API_AUTH_STRING", "--", "env"]
    own = {"PATH": os.environ["PATH"], "PGPASSWORD": "correct horse battery"}
    refused = subprocess.run(command, env=own | given, check=False, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "triptych: not started, set a secret of your own, of 12 characters or more: PREFECT_SERVER_API_AUTH_STRING\n"
    )
    given = {"PREFECT_SERVER_API_AUTH_STRING": "team:correct horse battery"}
    assert subprocess.run(command, env=own | given, check=True, capture_output=True, text=True).stdout


def test_docker_takes_the_containers(tmp_path: Path) -> None:
    if subprocess.run(["sh", "-c", "docker compose version"], check=False, capture_output=True).returncode:
        pytest.skip("needs docker compose")
    shutil.copytree(ROOT / "mlflow" / "team", tmp_path / "team")
    for file in EXAMPLES:
        shutil.copy(file, tmp_path / "team" / file.name.removesuffix(".example"))
    shutil.copy(ROOT / "mlflow" / "compose.yaml", tmp_path)
    command = ["docker", "compose", "--env-file", "team/postgres.env", "config", "--quiet"]
    subprocess.run(command, cwd=tmp_path, check=True)


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

"""Pages of documentation, done as a reader does them: in a copy of the checkout, with a home of its own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from helpers.photos import write_photos
from helpers.waiting import free_port

ROOT = Path(__file__).parents[2]
VENV = Path(sys.prefix)
README = "README.md"
PAGES = (README, "CONTRIBUTING.md", *sorted(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md")))
PORTS = ("4200", "5000", "5001", "8000", "8786")

# What cannot run in a test: the page, how the command begins, and why.
NOT_RUN = {
    (README, "make test"): "runs this test",
    ("CONTRIBUTING.md", "make test"): "runs this test",
    ("docs/servers.md", "python3 -m venv .venv"): "belongs to the next line",
    ("docs/servers.md", ".venv/bin/pip install --constraint"): "downloads packages",
    ("docs/servers.md", "createuser"): "asks for a password; the test's PostgreSQL has the role",
    ("docs/servers.md", "for name in prefect mlflow mlflow_auth; do createdb"): "the test's PostgreSQL has them",
    ("docs/servers.md", "useradd"): "needs root, and changes the machine",
    (
        "docs/servers.md",
        "for name in postgres prefect mlflow worker; do install",
    ): "needs root, and changes the machine",
    ("docs/servers.md", "cp mlflow/systemd"): "needs root, and changes the machine",
    ("docs/servers.md", "systemctl"): "needs systemd; tests/endurance/test_servers.py starts what the units start",
    ("docs/servers.md", "for name in postgres prefect mlflow worker; do cp"): "belongs to the next line",
    ("docs/servers.md", "${EDITOR:-vi}"): "belongs to the line before",
    ("docs/servers.md", "chmod 600"): "belongs to the next line",
    ("docs/servers.md", "docker compose"): "needs Docker; tests/pipeline/test_serve.py compares it with the units",
}
# What runs until it is stopped, "in a terminal of its own", and what its log says when it is ready.
SERVERS = {
    "make ui": "Ctrl-C ends the server",
    "mlflow models serve": "Application startup complete",
    "triptych serve": "Ctrl-C ends the server",
    "prefect worker start": "started!",
    "dask scheduler": "Scheduler at",
    "dask worker": "Registered to",
}


class Step(NamedTuple):
    """A command, a Python block or a file of a page, and its first line there."""

    kind: str
    text: str
    line: int


def read_text(page: str) -> str:
    """Return a file of the checkout."""
    return (ROOT / page).read_text(encoding="utf-8")


def parse(page: str, text: str) -> list[Step]:
    """Return what a reader of a page does, in order."""
    steps = []
    for block in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        language, content, line = block[1], block[2], text.count("\n", 0, block.start()) + 2
        assert language in {"console", "python", "yaml", "text"}, f"{page}:{line}: blocks of {language} are not run"
        if language == "console":
            for number, command in enumerate(content.splitlines(), line):
                assert command.startswith(("$ ", "# ")), f"{page}:{number}: a command begins with $ or #"
                steps.append(Step("console", command[2:], number))
        elif language != "text":
            steps.append(Step(language, content, line))
    return steps


def is_run(page: str, step: Step) -> bool:
    """Return whether a test runs a step."""
    return not any(own == page and step.text.startswith(command) for own, command in NOT_RUN)


@dataclass(frozen=True)
class Reader:
    """A reader of pages.

    Attributes:
        folder: holds the working copy, the home and the logs.
        places: what stands in a page, and what stands for it here: ports, folders, passwords.
    """

    folder: Path
    places: dict[str, str]

    @property
    def checkout(self) -> Path:
        """The working copy."""
        return self.folder / "checkout"

    @property
    def home(self) -> Path:
        """The home directory, with caches and settings."""
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        """What a shell has before the page is read: no setting of this project, of MLflow or of Prefect."""
        outside = [entry for entry in os.environ["PATH"].split(os.pathsep) if Path(entry) != VENV / "bin"]
        # BROWSER: one that opens no window.
        return {"HOME": str(self.home), "PATH": os.pathsep.join(outside), "LANG": "C.UTF-8", "BROWSER": "true"}

    def here(self, text: str) -> str:
        """Return a text of a page with the places of the test."""
        return re.sub(
            "|".join(sorted(map(re.escape, self.places), key=len, reverse=True)),
            lambda found: self.places[found[0]],
            text,
        )

    def read(self, page: str, text: str) -> dict[str, str]:
        """Do what a page says, in one shell; return what each step printed."""
        logs = self.folder / "logs" / Path(page).stem
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        steps = [step for step in parse(page, text) if is_run(page, step)]
        script = logs / "script.sh"
        lines = ["set -o pipefail", *(self.spell(step, logs, page) for step in steps)]
        script.write_text("\n".join(lines), encoding="utf-8")
        try:
            done = subprocess.run(
                ["bash", script], cwd=self.checkout, env=self.environment, capture_output=True, text=True, check=False
            )
        finally:
            self.end_processes()
        assert done.returncode == 0, done.stdout + done.stderr
        return {step.text: (logs / f"{step.line}.log").read_text(encoding="utf-8") for step in steps}

    def spell(self, step: Step, logs: Path, page: str) -> str:
        """Return a step as lines of a shell script, which prints the log of a step that fails, and ends."""
        log, printed = (shlex.quote(str(logs / name)) for name in (f"{step.line}.log", "printed"))
        command = self.here(step.text)
        if step.kind != "console":
            file = shlex.quote(str(logs / f"{step.line}.{step.kind}"))
            Path(logs / f"{step.line}.{step.kind}").write_text(command, encoding="utf-8")
            command = f".venv/bin/python {file} | tee {printed}"
        if step.kind == "yaml":
            # Its name is in its first line. For ID the reader writes what the Python block above has printed.
            fill = f"s/ ID$/ $(tail -n 1 {printed} 2>/dev/null | grep -o '[^ ]*$')/"
            command = f'sed "{fill}" {file} >{shlex.quote(step.text.split()[1])}'
        failed = f'{{ echo "{page}:{step.line} failed:"; cat {log}; exit 1; }}'
        ready = next((ready for server, ready in SERVERS.items() if server in step.text), None)
        if ready is None:
            return f"{{ {command}\n}} </dev/null >{log} 2>&1 || {failed}"
        return (
            f"{command} </dev/null >{log} 2>&1 &\n"
            f"until grep -qs '{ready}' {log}; do kill -0 $! 2>/dev/null || {failed}; sleep 0.3; done"
        )

    def end_processes(self) -> None:
        """End what a page has left running: every process with this reader's home."""
        own = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("HOME") == str(self.home):
                    process.terminate()
                    own.append(process)
            except psutil.Error:
                continue  # another user's, or gone
        for process in psutil.wait_procs(own, timeout=20)[1]:
            process.kill()


def make_reader(folder: Path) -> Reader:
    """Return a reader with a copy of the checkout, two classes of photos, and free ports."""
    ports = {port: str(free_port()) for port in PORTS}
    home = folder / "home"
    places = ports | {
        "make serve": f"make serve PREFECT_PORT={ports['4200']} MLFLOW_PORT={ports['5000']}",
        "triptych serve digits": f"triptych serve digits --port {ports['8000']}",
        "make ui": f"make ui MLFLOW_PORT={ports['5000']}",
        "server start": f"server start --port {ports['4200']}",
        "dask scheduler": f"dask scheduler --port {ports['8786']} --dashboard-address 127.0.0.1:0",
        "//scheduler:8786": f"//127.0.0.1:{ports['8786']}",
        "/data/photos": str(home / "photos"),
    }
    reader = Reader(folder, places)
    copy_checkout(reader.checkout)
    settings = reader.checkout / "mlflow" / "server.env"
    settings.write_text(reader.here(settings.read_text(encoding="utf-8")), encoding="utf-8")
    write_photos(home / "photos", {"ants": 12, "bees": 12})
    shutil.copytree(home / "photos", reader.checkout / "photos")
    return reader


def copy_checkout(to: Path) -> None:
    """Copy what git tracks, or would, and make an environment in which the copy is the package."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    subprocess.run(["git", "init", "--quiet"], cwd=to, check=True)  # else nobody looks at .gitignore
    own = to / ".venv"
    venv.EnvBuilder(symlinks=True).create(own)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(own)}))
    # The packages of the test's environment, behind the sources of the copy.
    installed = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})"
    (site / "copy.pth").write_text(f"{to / 'src'}\n{to}\n{installed}\n", encoding="utf-8")
    for program in (VENV / "bin").iterdir():
        if not (own / "bin" / program.name).exists():
            _copy_program(program, own / "bin" / program.name)
    (own / ".installed").touch()  # `make setup` finds everything done


def _copy_program(program: Path, to: Path) -> None:
    """Copy a script with the interpreter of its new environment; link to anything else."""
    start, _, rest = program.read_bytes().partition(b"\n")
    if start.startswith(b"#!"):
        to.write_bytes(b"#!" + bytes(to.parent / "python") + b"\n" + rest)
        to.chmod(0o755)
    else:
        to.symlink_to(program)


def save_weights(home: Path, *names: str) -> None:
    """Put random weights where torchvision keeps those of ImageNet, which tests don't download."""
    import torch
    import torchvision.models

    folder = home / ".cache" / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
        network = torchvision.models.get_model(name, weights=None)
        torch.save(network.state_dict(), folder / weights.url.rpartition("/")[2])

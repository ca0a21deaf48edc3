"""The documentation: every command and every Python block runs as written, in the environment that its page sets."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import yaml

from triptych import __version__
from triptych.config.presets import PRESETS
from triptych.panels.kinds import KINDS

ROOT = Path(__file__).parents[2]
VENV = Path(sys.prefix)
README = "README.md"
PAGES = (README, "CONTRIBUTING.md", *sorted(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md")))
# These take more than a minute, and are run by `make endurance`.
LONG = ("CONTRIBUTING.md", "docs/machines.md", "docs/photos.md", "docs/presets.md", "docs/servers.md")

# What cannot run in a test: the page, how the command begins, and why.
NOT_RUN = {
    (README, "make test"): "it runs this test",
    ("CONTRIBUTING.md", "make test"): "it runs this test",
    (README, "python3 -m venv .venv"): "belongs to the next line",
    (README, ".venv/bin/pip install --constraint"): "downloads PyTorch from the index that the reader fills in",
    ("docs/performance.md", "make bench-quick"): "measures for two minutes, on a machine that does nothing else",
    ("docs/servers.md", "python3 -m venv .venv"): "belongs to the next line",
    ("docs/servers.md", ".venv/bin/pip install --constraint"): "downloads packages",
    ("docs/servers.md", "createuser"): "asks for a password; the role of the test's PostgreSQL is made with it",
    ("docs/servers.md", "useradd"): "needs root, and changes the machine",
    ("docs/servers.md", "install -D"): "needs root, and changes the machine",
    ("docs/servers.md", "cp mlflow/systemd"): "needs root, and changes the machine",
    ("docs/servers.md", "systemctl"): "needs systemd; tests/endurance/test_servers.py starts what the units start",
    ("docs/servers.md", "cp mlflow/team.env.example"): "belongs to the next line",
    ("docs/servers.md", "docker compose"): "needs Docker; tests/pipeline/test_serve.py compares it with the units",
}
# What runs until it is stopped, "in a terminal of its own", and what its log says when it is ready.
SERVERS = {
    "make ui": "Application startup complete",
    "mlflow models serve": "Application startup complete",
    "prefect worker start": "started!",
    "dask scheduler": "Scheduler at",
}


class Step(NamedTuple):
    """A command, a Python block or a file of a page, and its first line there."""

    kind: str
    text: str
    line: int


def read_text(page: str) -> str:
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


def is_skipped(page: str, step: Step) -> bool:
    return step.kind == "console" and any(own == page and step.text.startswith(command) for own, command in NOT_RUN)


@dataclass(frozen=True)
class Reader:
    """A reader's home and working copy of the checkout, and free ports in place of the usual ones."""

    folder: Path
    ports: dict[str, str]

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        """What a shell has before it reads a page: no setting of this project, of MLflow or of Prefect."""
        outside = [entry for entry in os.environ["PATH"].split(os.pathsep) if Path(entry) != VENV / "bin"]
        # A browser that opens no window.
        return {"HOME": str(self.home), "PATH": os.pathsep.join(outside), "LANG": "C.UTF-8", "BROWSER": "true"}

    def here(self, text: str) -> str:
        """Return a text of a page with the places and ports of the test."""
        prefect, mlflow = self.ports["4200"], self.ports["5000"]
        places = self.ports | {
            "make serve": f"make serve PREFECT_PORT={prefect} MLFLOW_PORT={mlflow}",
            "server start": f"server start --port {prefect}",
            "tcp://scheduler:8786": f"tcp://127.0.0.1:{self.ports['8786']}",
            "/data/photos": str(self.home / "photos"),
        }
        return re.sub("|".join(sorted(places, key=len, reverse=True)), lambda found: places[found[0]], text)

    def read(self, page: str, text: str) -> dict[str, str]:
        """Do what a page says, in one shell; return what each command printed."""
        logs = self.folder / "logs" / Path(page).stem
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        steps = [step for step in parse(page, text) if not is_skipped(page, step)]
        script = logs / "script.sh"
        script.write_text("\n".join(self.spell(step, logs, page) for step in steps), encoding="utf-8")
        try:
            done = subprocess.run(
                ["bash", script], cwd=self.checkout, env=self.environment, capture_output=True, text=True, check=False
            )
        finally:
            self.end_processes()
        assert done.returncode == 0, done.stdout + done.stderr
        return {step.text: (logs / f"{step.line}.log").read_text(encoding="utf-8") for step in steps}

    def spell(self, step: Step, logs: Path, page: str) -> str:
        """Return a step as lines of a shell script, which end it with the log of a step that failed."""
        log = shlex.quote(str(logs / f"{step.line}.log"))
        command = self.here(step.text)
        if step.kind != "console":
            file = logs / f"{step.line}.{step.kind}"
            file.write_text(command, encoding="utf-8")
            command = f".venv/bin/python {shlex.quote(str(file))}"
            if step.kind == "yaml":
                command = f"cp {shlex.quote(str(file))} {shlex.quote(step.text.split()[1])}"
        failed = f'{{ echo "{page}:{step.line} failed:"; cat {log}; exit 1; }}'
        ready = next((ready for server, ready in SERVERS.items() if server in step.text), None)
        if ready is None:
            return f"{{ {command}\n}} </dev/null >{log} 2>&1 || {failed}"
        return (
            f"{command.partition(' #')[0]} </dev/null >{log} 2>&1 &\n"
            f"until grep -q '{ready}' {log}; do kill -0 $! 2>/dev/null || {failed}; sleep 0.3; done"
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


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return str(listening.getsockname()[1])


def copy_checkout(to: Path) -> None:
    """Copy what git tracks, or would, and give it an environment in which this copy is the package."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    own = to / ".venv"
    venv.EnvBuilder(symlinks=True).create(own)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(own)}))
    # The packages of this environment, behind the sources of the copy.
    installed = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})"
    (site / "copy.pth").write_text(f"{to / 'src'}\n{to}\n{installed}\n", encoding="utf-8")
    for program in ("triptych", "mlflow", "prefect", "dask", "ruff", "mypy", "lint-imports", "pytest"):
        copy_program(VENV / "bin" / program, own / "bin" / program)
    (own / ".installed").touch()  # `make setup` finds everything done


def copy_program(program: Path, to: Path) -> None:
    """Copy a script with the interpreter of its new environment; link to anything else."""
    start, _, rest = program.read_bytes().partition(b"\n")
    if start.startswith(b"#!"):
        to.write_bytes(b"#!" + bytes(to.parent / "python") + b"\n" + rest)
        to.chmod(0o755)
    else:
        to.symlink_to(program)


def save_weights(reader: Reader, *names: str) -> None:
    """Put random weights where torchvision keeps those of ImageNet, which tests don't download."""
    import torch
    import torchvision.models

    folder = reader.home / ".cache" / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
        network = torchvision.models.get_model(name, weights=None)
        torch.save(network.state_dict(), folder / weights.url.rpartition("/")[2])


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, make_photos: Callable[..., Path]) -> Iterator[Reader]:
    """A reader with photos, a picture of a digit, and the weights of a network."""
    ports = {port: free_port() for port in ("4200", "5000", "5001", "8786")}
    reader = Reader(tmp_path_factory.mktemp("reader"), ports)
    copy_checkout(reader.checkout)
    settings = reader.checkout / "mlflow" / "server.env"
    settings.write_text(reader.here(settings.read_text(encoding="utf-8")), encoding="utf-8")
    make_photos(reader.home / "photos", {"ants": 12, "bees": 12})
    shutil.copytree(reader.home / "photos", reader.checkout / "photos")
    shutil.copy(reader.home / "photos" / "ants" / "0.jpg", reader.checkout / "digit.png")
    save_weights(reader, "mobilenet_v2")
    yield reader
    reader.end_processes()


@pytest.fixture(scope="module")
def printed(reader: Reader) -> dict[str, str]:
    """What the commands of the README print."""
    return reader.read(README, read_text(README))


@pytest.fixture(scope="module")
def after_readme(reader: Reader, printed: dict[str, str]) -> Path:
    """A copy of what the README leaves: readers of other pages have done what it says."""
    del printed
    copy = reader.folder / "after-readme"
    for name in ("checkout", "home"):
        shutil.copytree(reader.folder / name, copy / name, symlinks=True)
    return copy


@pytest.fixture
def fresh_reader(reader: Reader, after_readme: Path) -> Reader:
    """The reader as the README leaves it, whatever another page has done: at the same place, which MLflow notes."""
    for name in ("checkout", "home"):
        shutil.rmtree(reader.folder / name)
        shutil.copytree(after_readme / name, reader.folder / name, symlinks=True)
    return reader


def words(text: str) -> set[str]:
    """Return the words of a text, with every figure as `#`."""
    return {re.sub(r"\d+(\.\d+)?(e[-+]\d+)?", "#", word) for word in text.split()}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_readme_runs_and_make_compare_prints_what_it_says(printed: dict[str, str]) -> None:
    command = next(command for command in printed if command.startswith("make compare"))
    begins = "digits, accuracy on"
    found = begins + printed[command].partition(begins)[2]
    block = re.search(rf"```text\n({begins}.*?)```", read_text(README), re.DOTALL)
    assert block
    table, link = block[1].strip().rsplit("\n", 1)
    assert words(table) == words(found.strip().rsplit("\n", 1)[0])
    assert link.removesuffix("...") in found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.endurance] if page in LONG else []) for page in PAGES if page != README],
)
def test_a_page_runs_as_written(page: str, fresh_reader: Reader) -> None:
    fresh_reader.read(page, read_text(page))


def test_what_is_not_run_is_still_on_its_page() -> None:
    for page, command in NOT_RUN:
        assert any(step.text.startswith(command) for step in parse(page, read_text(page))), (
            f"{page} has no command {command!r}"
        )


def test_a_block_that_cannot_be_run_is_noticed() -> None:
    with pytest.raises(AssertionError, match=r"page\.md:3: a command begins with"):
        parse("page.md", "```console\n$ true\ntrue\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:2: blocks of bash are not run"):
        parse("page.md", "```bash\ntrue\n```\n")


@pytest.mark.parametrize("command", ["false", 'test -n "$PREFECT_HOME"', "cd checkout && true", "nothing-of-this-name"])
def test_a_command_that_fails_fails_its_page(command: str, tmp_path: Path) -> None:
    reader = Reader(tmp_path, {"4200": "1", "5000": "2", "8786": "3"})
    reader.checkout.mkdir()
    page = f"```console\n$ cd .. && cd checkout\n$ {command}\n$ touch done\n```\n"
    with pytest.raises(AssertionError, match=r"page\.md:3 failed"):
        reader.read("page.md", page)
    assert not (reader.checkout / "done").exists()


def find_anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    for address in re.findall(r"\]\(([^)]+)\)", read_text(page)):
        if "://" not in address:
            name, _, anchor = address.partition("#")
            file = (ROOT / page).parent / name if name else ROOT / page
            assert file.exists(), address
            assert not anchor or anchor in find_anchors(file), address


def test_pages_for_readers_in_a_hurry_are_short() -> None:
    assert len(read_text(README).splitlines()) < 200
    assert len(read_text("CONTRIBUTING.md").splitlines()) < 60


def read_layers() -> list[set[str]]:
    """Return the floors that import-linter checks, from the top."""
    settings = tomllib.loads(read_text("pyproject.toml"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["type"] == "layers")["layers"]
    return [{name.strip().removeprefix("triptych.") for name in layer.split("|")} for layer in layers]


def test_the_picture_of_the_floors_is_the_contract() -> None:
    text = read_text("docs/architecture.md")
    picture = text.partition("```text\n")[2].partition("```")[0]
    drawn = [set(re.split(r" {2,}", line.strip())[0].split(" | ")) for line in picture.splitlines()]
    assert drawn == [layer for layer in read_layers() if layer.isdisjoint({"__main__", "served"})]


def test_the_readme_lists_every_package_above_what_imports_it() -> None:
    section = read_text(README).partition("## How it is built")[2]
    listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert set(listed) == {file.parent.name for file in (ROOT / "src" / "triptych").glob("*/__init__.py")}
    height = {name: number for number, layer in enumerate(reversed(read_layers())) for name in layer}
    assert [height[name] for name in listed] == sorted(height[name] for name in listed)


def test_the_pages_name_every_preset_and_kind() -> None:
    presets = read_text("docs/presets.md")
    assert set(re.findall(r"^\| `(\w+)` \|", presets, re.MULTILINE)) == set(PRESETS)
    glossary = read_text("docs/architecture.md").partition("| **kind** |")[2]
    assert set(re.findall(r"`(\w+)`", glossary.partition("\n")[0])) == set(KINDS)


def test_pre_commit_checks_what_make_lint_checks() -> None:
    config = yaml.safe_load(read_text(".pre-commit-config.yaml"))
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", read_text("Makefile"), re.MULTILINE)
    assert recipe
    commands = [command.replace("$(BIN)", ".venv/bin") for command in recipe[1].split("\n\t")]
    assert [hook["entry"] for hook in hooks] == [command.strip() for command in commands]
    assert {hook["language"] for hook in hooks} == {"system"}


def test_the_changelog_begins_with_this_version() -> None:
    headings = re.findall(r"^## (\S+)", read_text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == __version__


def test_the_page_of_performance_has_the_measured_figures() -> None:
    text = read_text("docs/performance.md").replace(",", "")
    numbers = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)}
    for result in json.loads(read_text("bench/results.json")):
        value = result["value"]
        quoted = {round(value, digits) for digits in (0, 1, 2)} | {float(f"{value:.3g}")}
        assert quoted & numbers, f"{result['figure']}: {value}"

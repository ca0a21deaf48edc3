from __future__ import annotations

import errno
import logging
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest
import typer

from helpers.commands import run
from triptych.cli import app


def test_the_command_line_starts_without_heavy_libraries() -> None:
    code = (
        "import sys, triptych.cli, triptych.config.resolve;"
        "print(sorted({'torch', 'torchvision', 'mlflow', 'prefect', 'sklearn'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_help_names_every_option_and_an_example() -> None:
    for command, words in {
        "compare": ["--preset", "--data", "--panel", "--set", "--config", "triptych compare --preset photos"],
        "tune": ["PANEL", "--trials", "--workers", "triptych tune numpy-mlp --trials 20"],
        "show": ["--json", "triptych show"],
        "presets": ["triptych presets"],
        "cache": ["--json", "prune", "triptych cache"],
    }.items():
        done = run(command, "--help")
        assert done.returncode == 0
        assert all(word in done.stdout for word in words)


def test_the_version_is_that_of_the_package() -> None:
    assert run("--version").stdout == f"triptych {version('triptych')}\n"


def test_every_command_takes_debug() -> None:
    groups: Any = typer.main.get_command(app)
    commands = [*groups.commands.values(), groups.commands["cache"].commands["prune"]]
    commands += groups.commands["store"].commands.values()
    assert [
        command.name for command in commands if not any("--debug" in option.opts for option in command.params)
    ] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "--preset", "digit"], "unknown preset 'digit'"),
        (["compare", "--panel", "resnet5"], "unknown panel 'resnet5'"),
        (["compare", "--set", "numpy_mlp.epoch=3"], "unknown field 'numpy_mlp.epoch'"),
        (["tune", "numpy-ml"], "did you mean 'numpy-mlp'?"),
    ],
    ids=str,
)
def test_bad_input_is_one_line_and_exit_code_two(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_debug_shows_the_traceback() -> None:
    done = run("compare", "--preset", "digit", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_a_full_disk_is_one_line_and_exit_code_two(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/full/file")

    monkeypatch.setattr("triptych.system.cache.list_cache", fail)
    done = run("cache")
    assert done.returncode == 2
    expected = "/full/file cannot be written (No space left on device): make room there, or choose another place"
    assert done.stderr == f"triptych: {expected}\n"


def test_a_full_disk_of_a_database_is_one_line_and_exit_code_two(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("(sqlite3.OperationalError) database or disk is full [SQL: INSERT INTO runs ...]")

    monkeypatch.setattr("triptych.system.cache.list_cache", fail)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////full/mlflow.db")
    done = run("cache")
    assert done.returncode == 2
    expected = "sqlite:////full/mlflow.db or PREFECT_HOME is on a disk that is full: make room there"
    assert done.stderr == f"triptych: {expected}\n"


def test_a_warning_of_this_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def warn() -> list[object]:
        logging.getLogger("triptych.system.checked").warning("%s is damaged", "a file")
        return []

    monkeypatch.setattr("triptych.system.cache.list_cache", warn)
    assert run("cache").stderr == "triptych: a file is damaged\n"


@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_error_is_named_by_its_type_and_does_not_pass_for_bad_input(
    debug: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise PermissionError("no access")

    monkeypatch.setattr("triptych.system.cache.list_cache", fail)
    done = run("cache", *["--debug"] * debug)
    assert done.returncode == 1
    expected = "triptych: PermissionError: no access (unexpected; --debug shows the traceback)"
    assert done.stderr.splitlines()[0] == expected
    assert ("Traceback" in done.stderr) is debug


ENDING = """
import atexit, logging, sys, threading, time
from triptych import cli

def run():
    sys.stdout.reconfigure(write_through=False, line_buffering=False)
    atexit.register(print, "registered by others")
    threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
    print("x" * int(sys.argv[2]), end=".\\n")
    return int(sys.argv[1])

class Module:
    def __del__(self):
        print("teardown")

cli.kept, cli.run = Module(), run
cli.main()
"""


@pytest.mark.parametrize("code", [0, 2])
def test_a_command_ends_without_teardown_after_threads_and_what_others_registered(code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING, str(code), "100000"], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stdout.partition(".\n")[2].splitlines() == ["thread", "registered by others"]
    assert not done.stderr


def test_a_reader_that_has_gone_is_an_error_as_in_other_programs() -> None:
    for arguments, code in ((["-c", ENDING, "0", "1"], 120), (["-m", "triptych", "presets"], 1)):  # 1 by Rich
        command = [sys.executable, *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.close()
            assert process.communicate()[1] == ""
            assert process.returncode == code

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from triptych.cli import app

MakePhotos = Callable[..., Path]


def run(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("triptych")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_help_names_every_option_and_an_example() -> None:
    for command, words in {
        "compare": ["--preset", "--data", "--panel", "--set", "--config", "triptych compare --preset photos"],
        "show": ["--json", "triptych show"],
        "presets": ["triptych presets"],
        "cache": ["--json", "prune", "triptych cache"],
    }.items():
        done = run(command, "--help")
        assert done.returncode == 0
        assert all(word in done.stdout for word in words)


def test_presets_are_listed() -> None:
    printed = run("presets").stdout
    assert all(name in printed for name in ("digits", "report", "matched", "photos"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "digit"], "unknown preset 'digit'"),
        (["--panel", "resnet5"], "unknown panel 'resnet5'"),
        (["--set", "numpy_mlp.epoch=3"], "unknown field 'numpy_mlp.epoch'"),
        (["--preset", "photos", "--data", "/nowhere"], "data '/nowhere' is neither a directory nor"),
        (["--set", "transfer.weights=gone.pth"], "gone.pth does not exist: check transfer.weights"),
        (["--panel", "resnet18"], "weights 'bundled' are those of shufflenet_v2_x0_5, not of resnet18"),
    ],
    ids=str,
)
def test_bad_input_is_one_line_and_exit_code_two(arguments: list[str], message: str) -> None:
    done = run("compare", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_broken_image_is_found_before_anything_is_trained(tmp_path: Path, make_photos: MakePhotos) -> None:
    folder = make_photos(tmp_path / "photos", {"a": 5, "b": 5})
    (folder / "a" / "2.jpg").write_bytes(b"\xff\xd8 no more")
    done = run("compare", "--preset", "photos", "--data", folder, "--panel", "numpy-mlp")
    assert done.returncode == 2
    assert re.match(r"triptych: image .*/a/2\.jpg cannot be read .*: replace or remove the file\n$", done.stderr)


def test_debug_shows_the_traceback() -> None:
    done = run("compare", "--preset", "digit", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_error_is_named_by_its_type_and_does_not_pass_for_bad_input(
    debug: bool,  # noqa: FBT001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'a file' / 'mlflow.db'}")
    done = run("show", *["--debug"] * debug)
    [line] = [line for line in done.stderr.splitlines() if line.startswith("triptych:")]
    assert done.returncode == 1
    assert re.match(r"triptych: (NotADirectory|FileExists)Error: .* \(unexpected; --debug shows the traceback\)$", line)
    assert ("Traceback" in done.stderr) is debug


def test_every_command_takes_debug() -> None:
    groups: Any = typer.main.get_command(app)
    commands = [*groups.commands.values(), groups.commands["cache"].commands["prune"]]
    assert [
        command.name for command in commands if not any("--debug" in option.opts for option in command.params)
    ] == []


def test_the_version_is_that_of_the_package_and_the_module_runs_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "triptych", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == run("--version").stdout == f"triptych {version('triptych')}\n"


def complete(words: str, position: int) -> list[str]:
    """What bash would offer, asked as the script of `triptych --show-completion bash` asks."""
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(position), "_TRIPTYCH_COMPLETE": "complete_bash"}
    command = [str(Path(sys.executable).with_name("triptych"))]
    return subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True).stdout.split()  # noqa: PLW1510


def test_a_shell_completes_commands_presets_and_panels() -> None:
    assert "_TRIPTYCH_COMPLETE=complete_bash" in run("--show-completion", "bash").stdout
    assert complete("triptych comp", 1) == ["compare"]
    assert complete("triptych compare --preset di", 3) == ["digits"]
    assert complete("triptych tune resnet1", 2) == ["resnet18", "resnet101", "resnet152"]


def test_show_of_an_empty_store_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'empty.db'}")
    done = run("show", folder=tmp_path)
    assert done.returncode == 0
    assert "no comparison yet: run `triptych compare`" in done.stderr
    assert json.loads(run("show", "--json", folder=tmp_path).stdout) == []


def test_the_cache_is_listed_and_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    split = tmp_path / "splits" / "s.json"
    split.parent.mkdir()
    split.write_text('{"train": [0, 1], "validation": [], "test": [2]}')
    assert "2 train, 0 validation, 1 test" in run("cache").stdout
    assert json.loads(run("cache", "--json").stdout)[0]["images"] == 3
    assert "everything in the cache was used within 30 days" in run("cache", "prune").stdout
    refused = run("cache", "prune", "--older-than", "0")
    assert (refused.returncode, split.is_file()) == (2, True)
    assert "there is no terminal to ask for confirmation: add --yes" in refused.stderr
    assert "deleted 1 file(s)" in run("cache", "prune", "--older-than", "0", "--yes").stdout
    assert not split.exists()
    unknown = run("cache", "prune", "--kind", "data")
    assert (unknown.returncode, "unknown kind 'data'" in unknown.stderr) == (2, True)

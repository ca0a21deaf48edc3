"""Commands in processes of their own: what a shell sees of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from helpers.commands import run, start
from helpers.photos import write_photos


def test_bad_input_is_one_line_and_exit_code_two() -> None:
    done = start("compare", "--preset", "digit")
    assert done.returncode == 2
    assert re.match(r"triptych: unknown preset 'digit'.*\n$", done.stderr)


def test_a_broken_image_is_found_before_anything_is_trained(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", {"a": 5, "b": 5})
    (folder / "a" / "2.jpg").write_bytes(b"\xff\xd8 no more")
    done = start("compare", "--preset", "photos", "--data", folder, "--panel", "numpy-mlp")
    assert done.returncode == 2
    assert re.match(r"triptych: image .*/a/2\.jpg cannot be read .*: replace or remove the file\n$", done.stderr)


def test_the_module_runs_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "triptych", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == start("--version").stdout == f"triptych {version('triptych')}\n"


def complete(words: str, position: int) -> list[str]:
    """What bash would offer, asked as the script of `triptych --show-completion bash` asks."""
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(position), "_TRIPTYCH_COMPLETE": "complete_bash"}
    command = [str(Path(sys.executable).with_name("triptych"))]
    done = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=False)
    return done.stdout.split()


def test_a_shell_completes_commands_presets_and_panels() -> None:
    assert "_TRIPTYCH_COMPLETE=complete_bash" in start("--show-completion", "bash").stdout
    assert complete("triptych comp", 1) == ["compare"]
    assert complete("triptych compare --preset di", 3) == ["digits"]
    assert complete("triptych tune resnet1", 2) == ["resnet18", "resnet101", "resnet152"]


def test_show_of_an_empty_store_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'empty.db'}")
    done = run("show")
    assert done.returncode == 0
    assert "no comparison yet: run `triptych compare`" in done.stderr
    assert json.loads(run("show", "--json").stdout) == []

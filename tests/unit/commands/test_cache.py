from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.commands import run
from triptych.system.checked import write_json


def test_the_cache_is_listed_and_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    split = tmp_path / "splits" / "s.json"
    write_json(split, {"train": [0, 1], "validation": [], "test": [2]})
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

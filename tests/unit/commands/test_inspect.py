from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.commands import run
from helpers.photos import write_photos
from triptych.commands import inspect
from triptych.commands.inspect import read_span
from triptych.errors import ConfigError


def test_presets_are_listed() -> None:
    printed = run("presets").stdout
    assert all(name in printed for name in ("digits", "report", "matched", "photos"))


def test_check_prints_ten_examples_or_all_or_json(tmp_path: Path) -> None:
    write_photos(tmp_path, {"a": 5, "b": 5})
    for number in range(12):
        (tmp_path / "a" / f"broken{number:02}.jpg").write_bytes(b"")
    done = run("check", tmp_path)
    assert done.returncode == 2
    assert done.stdout.count("the file is empty") == 10
    assert run("check", tmp_path, "--all").stdout.count("the file is empty") == 12
    done = run("check", tmp_path, "--json")
    assert done.returncode == 2
    content = json.loads(done.stdout)
    assert content["can_train"] is False
    unreadable = content["findings"][0]
    assert (unreadable["kind"], unreadable["severity"], unreadable["count"]) == ("unreadable", "error", 12)
    assert unreadable["files"][:2] == ["a/broken00.jpg", "a/broken01.jpg"]


def test_sound_data_end_with_exit_code_zero(photos: Path) -> None:
    done = run("check", photos)
    assert (done.returncode, done.stderr) == (0, "")
    assert "40 images in 2 classes" in done.stdout
    assert "nothing prevents training" in done.stdout


def test_a_wrong_name_is_one_line(tmp_path: Path) -> None:
    done = run("check", tmp_path / "nowhere")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "is neither a directory nor the name of a data set" in done.stderr
    as_json = run("check", tmp_path / "nowhere", "--json")
    [refused] = json.loads(as_json.stdout)["findings"]
    assert (as_json.returncode, as_json.stderr) == (2, "")
    assert (refused["kind"], refused["severity"]) == ("refused", "error")
    assert f"triptych: {refused['message']}\n" == done.stderr


@pytest.mark.parametrize("text", ["90", "24 h", "-3d", "999999d", "3w"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a span: give seconds, minutes, hours or days"):
        read_span(text)


@pytest.mark.parametrize(("restored", "cell"), [(0, "1.5000"), (3, "1.5000*")])
def test_a_time_of_an_earlier_training_is_marked(restored: int, cell: str) -> None:
    from triptych.tracking.queries import PanelRun

    metrics = {"fit_seconds": 1.5}
    run = PanelRun("digits", "a comparison", "numpy-mlp", "numpy-mlp", 0, "a run", "FINISHED", metrics, restored)
    assert inspect._format_metric(run, "fit_seconds") == cell
    assert bool(inspect._explain_mark([run])) == cell.endswith("*")
    assert inspect._format_metric(run, "test_accuracy") == "-"

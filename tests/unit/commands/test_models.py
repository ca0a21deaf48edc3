from __future__ import annotations

import csv
import io
import json
import webbrowser
from pathlib import Path

import pytest

from helpers.commands import run
from triptych.commands import models
from triptych.errors import ConfigError

ROWS = [
    {"image": "a.png", "classes": [{"class": "ant", "probability": 0.9}, {"class": "bee, wild", "probability": 0.1}]},
    {"image": "b.png", "classes": [{"class": "bee, wild", "probability": 1.0}]},
]


def test_rows_are_printed_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    models._print_rows(ROWS, as_json=False, as_csv=False)
    assert capsys.readouterr().out == "a.png: ant 0.9000, bee, wild 0.1000\nb.png: bee, wild 1.0000\n"
    models._print_rows(ROWS, as_json=True, as_csv=False)
    assert json.loads(capsys.readouterr().out) == ROWS
    models._print_rows(ROWS, as_json=False, as_csv=True)
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [tuple(line.values()) for line in lines] == [
        ("a.png", "ant", "0.9"),
        ("a.png", "bee, wild", "0.1"),
        ("b.png", "bee, wild", "1.0"),
    ]


def test_a_version_must_be_named_to_be_promoted() -> None:
    done = run("promote", "digits")
    assert done.returncode == 2
    assert "'digits' names no version: give NAME/VERSION, such as digits/1" in done.stderr


def test_without_a_browser_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find() -> None:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", find)
    with pytest.raises(ConfigError, match="--open finds no browser here: set BROWSER to one"):
        models._open(tmp_path / "report.html")


def test_two_formats_exclude_each_other() -> None:
    done = run("predict", "digits", "photo.png", "--json", "--csv")
    assert done.returncode == 2
    assert "--json and --csv exclude each other" in done.stderr

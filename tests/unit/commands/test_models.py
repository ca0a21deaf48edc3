from __future__ import annotations

import csv
import io
import json
import os
import sys
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


def test_the_next_browser_is_tried_where_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, own = tmp_path / "report.html", tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {own}\n', encoding="utf-8")
    browser.chmod(0o700)
    monkeypatch.setattr(webbrowser, "_browsers", {})
    monkeypatch.setattr(webbrowser, "_tryorder", None)
    monkeypatch.setenv("BROWSER", os.pathsep.join(["false", f"{browser} %s"]))
    models.open_page(file)
    assert own.read_text(encoding="utf-8").strip() == file.as_uri()


def test_without_a_browser_it_says_why_and_what_to_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"\(DISPLAY is not set\): open file:///.*/report.html yourself"):
        models.open_page(tmp_path / "report.html")


def test_a_report_replaces_files_only(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "file").touch()
    reasons = {
        "": "it is a folder",
        "none/report.html": f"there is no folder {tmp_path / 'none'}",
        "pipe": "it is a device or a pipe, which the file would replace",
        "link": "it is a device or a pipe, which the file would replace",
        "file": "",
        "new": "",
        "x" * 300: "",
    }
    assert {name: models._explain_unusable(tmp_path / name) for name in reasons} == reasons


def test_two_formats_exclude_each_other() -> None:
    done = run("predict", "digits", "photo.png", "--json", "--csv")
    assert done.returncode == 2
    assert "--json and --csv exclude each other" in done.stderr

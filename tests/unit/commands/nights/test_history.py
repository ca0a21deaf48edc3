from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.nights import make_night, make_nights
from triptych.cli import app
from triptych.errors import InputError


@pytest.fixture(scope="module")
def nights(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a store with nights of the board `photos`, the last of which is worse than chance explains."""
    from triptych.tracking.client import connect
    from triptych.tracking.history.run import record_night

    folder = tmp_path_factory.mktemp("nights")
    address = f"sqlite:///{shutil.copy(empty_store, folder)}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address)
        board = connect().create_experiment("photos", artifact_location=(folder / "artifacts").as_uri())
        record_night("photos", board, ([], make_nights()), make_night(20, 440, 515), None)
    return address


@pytest.mark.parametrize(
    ("arguments", "code", "printed", "error"),
    [
        ([], 0, "photos, nights since 2026-01-02: 13", ""),
        (
            ["photos", "--check"],
            1,
            "photos, 2026-01-22: panel-0 has 0.8148",
            "triptych: photos, 2026-01-22: panel-0 is",
        ),
        (["--since", "9x"], 2, "", "--since '9x' is not a span"),
        (["--since", "1m"], 2, "", "no comparison in the last 1m: give a longer --since"),
        (["digits"], 2, "", "no board 'digits' has a comparison: name one of photos"),
        (
            ["--to", "/proc/none/page.html"],
            2,
            "",
            "--to /proc/none/page.html: there is no folder /proc/none; name a file",
        ),
    ],
)
def test_the_nights_and_the_alarm_are_printed(
    nights: str, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, printed: str, error: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nights)
    done = CliRunner().invoke(app, ["history", *arguments])
    if code == 2:
        assert isinstance(done.exception, InputError)
        assert error in str(done.exception)
    else:
        assert done.exit_code == code
        assert printed in done.stdout
        assert "\npoints: change since the night before; nights: accuracy of the last 12, " in done.stdout
        assert error in done.stderr
        assert len(done.stderr.splitlines()) == bool(error)


def test_the_page_and_json_hold_the_same_nights(nights: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nights)
    file = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["history", "photos", "--to", str(file)])
    assert done.stdout == f"{file}\n"
    [history] = json.loads(CliRunner().invoke(app, ["history", "--json"]).stdout)
    assert history["summary"] in file.read_text(encoding="utf-8")
    assert len(history["nights"]) == 13
    assert [change["kind"] for change in history["changes"]] == ["worse"]

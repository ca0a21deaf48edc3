"""What a person sees after a comparison: MLflow's own page and the report, in a real browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from helpers.browser import CHROMIUM, SECONDS, Tab, opened_tab, stop
from helpers.waiting import ask, free_port, wait_until
from triptych.cli import app
from triptych.errors import ConfigError
from triptych.evaluation.report import ComparisonResult
from triptych.tracking.links import FIRST_CHARTS, LOCAL_PAGE

SERVER = ("--host", "127.0.0.1", "--workers", "1")
QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}

KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "Escape": 27}

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]


@pytest.fixture(scope="module")
def server(result: ComparisonResult) -> Iterator[str]:
    del result
    address = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "mlflow", "server", *SERVER, "--port", address.rpartition(":")[2]]
    store = ["--backend-store-uri", os.environ["MLFLOW_TRACKING_URI"]]
    process = subprocess.Popen([*command, *store], env={**os.environ, **QUIET}, start_new_session=True)
    wait_until(lambda: ask(f"{address}/health") == 200, "MLflow's server", SECONDS, process)
    yield address
    stop(process)


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    with opened_tab(tmp_path) as one:
        yield one


@pytest.mark.timeout(360)
def test_the_link_shows_every_run_and_the_useful_charts_first(result: ComparisonResult, server: str, tab: Tab) -> None:
    tab.call("Page.navigate", url=result.link.replace(LOCAL_PAGE, server))
    names = [standing.label for standing in result.report.standings]
    tab.wait(f"{json.dumps(names)}.every(name => document.body.innerText.includes(name))")
    tab.wait("document.querySelectorAll('.js-plotly-plot').length > 2")
    text = tab.evaluate("document.body.innerText")
    first = list(FIRST_CHARTS)[:3]
    places = [text.index(f"\n{name}\n") for name in first]
    assert places == sorted(places)
    assert f"comparison {result.comparison}" in text
    assert first[0] == "test_accuracy"
    assert "final_val_log_loss" not in text, "its chart is in a section that a click opens"
    tab.wait("[...document.images].some(image => image.src.includes('disagreements') && image.naturalWidth)")
    # Links in notes work wherever the page is opened.
    assert "#/" in tab.evaluate("document.querySelector('a[href*=viewStateShareKey]')?.getAttribute('href')")[:2]
    assert {urlsplit(address).hostname for address in tab.requests if address.startswith("http")} == {"127.0.0.1"}


@pytest.fixture(scope="module")
def report(result: ComparisonResult) -> Path:
    return Path(CliRunner().invoke(app, ["report", result.comparison]).stdout.strip())


def test_the_report_is_written_where_it_is_asked_for(result: ComparisonResult, report: Path, tmp_path: Path) -> None:
    for name in ("a b.html", "a b.html"):  # over the one that is there
        done = CliRunner().invoke(app, ["report", result.comparison, "--to", str(tmp_path / name)])
        assert done.stdout.strip() == str(tmp_path / name)
    assert (tmp_path / "a b.html").read_bytes() == report.read_bytes()
    for place, reason in ((tmp_path, "it is a folder"), (tmp_path / "gone" / "a.html", "there is no folder")):
        refused = CliRunner().invoke(app, ["report", "--to", str(place)])
        assert isinstance(refused.exception, ConfigError)
        assert reason in str(refused.exception)


def open_page(tab: Tab, page: Path, width: int, scheme: str = "light", content: str = "#gallery li") -> None:
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600)
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    tab.call("Page.navigate", url=page.as_uri())
    tab.wait("document.readyState === 'complete' && document.querySelectorAll('" + content + "').length > 0")


def check_page(tab: Tab, width: int) -> None:
    """Check that a page fits, is accessible, asks for nothing and has no error."""
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.find_violations() == []
    assert {address.split(":")[0] for address in tab.requests} <= {"file", "data"}
    assert not tab.errors


@pytest.mark.usefixtures("result")
def test_the_page_of_the_nights_fits_and_is_accessible(tab: Tab, tmp_path: Path) -> None:
    page = tmp_path / "history.html"
    assert CliRunner().invoke(app, ["history", "digits", "--to", str(page)]).exit_code == 0
    open_page(tab, page, 390, "dark", "svg")
    assert "Nights of board digits" in tab.evaluate("document.body.innerText")
    check_page(tab, 390)


def press(tab: Tab, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        tab.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1400, "light")])
def test_the_report_asks_for_nothing_fits_and_is_accessible(
    result: ComparisonResult, report: Path, tab: Tab, width: int, scheme: str
) -> None:
    assert report.stat().st_size < 3e6
    open_page(tab, report, width, scheme)
    assert result.report.verdict in tab.evaluate("document.body.innerText")
    shown = "[...document.images].filter(image => !image.hidden)"
    tab.wait(f"{shown}.every(image => image.complete && image.naturalWidth && image.alt)")
    check_page(tab, width)
    # A name without spaces is broken into lines.
    tab.evaluate("document.querySelectorAll('p, li, .legend li *').forEach(one => one.append('x'.repeat(500)))")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_the_report_pages_filters_and_sorts_by_keyboard_and_mouse(report: Path, tab: Tab) -> None:
    open_page(tab, report, 1400)
    count = "document.getElementById('count').textContent"
    assert tab.evaluate(count).startswith("1 to 12 of ")
    first = tab.evaluate("document.querySelector('#gallery li').innerText")
    tab.evaluate("document.getElementById('gallery').focus()")
    press(tab, "ArrowRight")
    assert tab.evaluate(count).startswith("13 to ")
    assert tab.evaluate("document.querySelector('#gallery li').innerText") != first
    # A confused pair of the list shows its images.
    pair = tab.evaluate("document.querySelector('#confused a').textContent")
    tab.evaluate("document.querySelector('#confused a').click()")
    images = int(pair.split(": ")[1].split()[0])
    assert tab.evaluate("document.querySelectorAll('#gallery li').length") == images
    true, answer = pair.split(": ")[0].split(" → ")
    text = tab.evaluate("document.querySelector('#gallery li').innerText")
    assert f"true class: {true}" in text
    assert f"✗ {answer}" in text
    # Sorting by recall, twice, brings the best class to the top.
    recall = "document.querySelectorAll('#per-class thead button')[2].click()"
    tab.evaluate(f"{recall}, {recall}")
    column = "[...document.querySelectorAll('#per-class tbody tr')].map(row => Number(row.cells[2].textContent))"
    values = tab.evaluate(column)
    assert values == sorted(values, reverse=True)
    # A chosen panel stands out, in the charts and in the table.
    tab.evaluate("document.querySelector('button[data-panel]').click()")
    assert tab.evaluate("document.querySelectorAll('#ranking tr.dim').length") == len(result_labels(tab)) - 1
    assert tab.evaluate("document.querySelectorAll('svg .dim').length") > 10
    assert not tab.errors


def result_labels(tab: Tab) -> list[str]:
    return list(tab.evaluate("[...document.querySelectorAll('button[data-panel]')].map(one => one.dataset.panel)"))


def test_the_report_shows_values_under_the_pointer_and_by_the_arrow_keys(report: Path, tab: Tab) -> None:
    open_page(tab, report, 1400)
    tab.evaluate("document.querySelector('[data-curve=val_accuracy]').focus()")
    press(tab, "ArrowLeft")
    tip = "document.getElementById('tip').innerText"
    epoch = tab.evaluate(f"{tip}.split('\\n')[0]")
    press(tab, "ArrowLeft")
    assert tab.evaluate(tip).startswith(f"epoch {int(epoch.removeprefix('epoch ')) - 1}")
    tab.evaluate("document.querySelector('.map').scrollIntoView()")
    place = tab.evaluate(
        "(() => { const box = document.querySelector('.map path.test').getBoundingClientRect();"
        " const [x, y] = document.querySelector('.map path.test').getAttribute('d').match(/\\d+/g).map(Number);"
        " const at = new DOMPoint(x, y).matrixTransform(document.querySelector('.map svg').getScreenCTM());"
        " return [at.x, at.y]; })()"
    )
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    assert tab.evaluate(tip).startswith("image ")
    assert tab.evaluate("!!document.querySelector('#tip .tile')")
    press(tab, "Escape")
    assert tab.evaluate("document.getElementById('tip').hidden")

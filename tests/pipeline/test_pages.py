"""What a person sees after a comparison: MLflow's own page and the report, in a real browser."""

from __future__ import annotations

import json
import os
import re
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
from triptych.evaluation.report import ComparisonResult
from triptych.tracking.links import FIRST_CHARTS, LOCAL_PAGE

SERVER = ("--host", "127.0.0.1", "--workers", "1")
QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}

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
    assert {urlsplit(address).hostname for address in tab.requests if address.startswith("http")} == {"127.0.0.1"}


@pytest.mark.parametrize("width", [390, 1100])
def test_the_report_asks_for_nothing_and_fits(result: ComparisonResult, tab: Tab, width: int) -> None:
    page = Path(CliRunner().invoke(app, ["report", result.comparison]).stdout.strip())
    assert page.stat().st_size < 6e6
    text = page.read_text().split("<h2>Provenance")[0]
    # The names of SVG's namespaces look like addresses, but nothing is fetched from there.
    text = re.sub(r"http://www\.w3\.org/(2000/svg|1999/xlink)", "", text)
    assert not [part for part in ("http://", "https://", "<script") if part in text]
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600)
    tab.call("Page.navigate", url=page.as_uri())
    tab.wait("document.readyState === 'complete' && document.images.length > 6")
    assert result.report.verdict in tab.evaluate("document.body.innerText")
    assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth && image.alt)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert {address.split(":")[0] for address in tab.requests} == {"file", "data"}
    assert not tab.errors

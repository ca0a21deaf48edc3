"""Make the pictures of the README anew: a comparison of the digits, its report, and MLflow's page of it.

Needs Debian's Chromium. `make pictures` writes `docs/comparison.png` and `docs/report.png`.
"""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from helpers.browser import CHROMIUM, SECONDS, Tab, opened_tab, stop
from helpers.waiting import ask, free_port, wait_until

DOCS = Path(__file__).parent
# Pixels of the pictures, and their colours: fewer keep the repository small.
WIDTH, HEIGHT, COLOURS = 1280, 820, 256
# MLflow's page opens an assistant on its right, which is cut off.
ASSISTANT = 480


def compare(environment: dict[str, str]) -> str:
    """Compare the panels of the digits; return the link to the charts."""
    command = [sys.executable, "-m", "triptych", "compare", "--set", "repeats=2"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)  # noqa: S603 - our own
    links: list[str] = re.findall(r"http://\S+#/experiments/\S+", done.stderr + done.stdout)
    return links[-1]


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[str]:
    """Serve MLflow's pages, and yield their address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1", "--port", str(port)]
    process = subprocess.Popen(  # noqa: S603 - MLflow of this environment
        [*command, "--backend-store-uri", environment["MLFLOW_TRACKING_URI"]], env=environment, start_new_session=True
    )
    try:
        wait_until(lambda: ask(f"http://127.0.0.1:{port}/health") == 200, "MLflow's server", SECONDS, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(process)


def take(tab: Tab, address: str, ready: str, file: Path, cut: int = 0) -> None:
    """Write a picture of a page once an expression is true on it, without so many pixels on the right."""
    tab.call("Emulation.setDeviceMetricsOverride", width=WIDTH + cut, height=HEIGHT, deviceScaleFactor=1, mobile=False)
    tab.call("Page.navigate", url=address)
    tab.wait(ready)
    # The charts of MLflow's page fade in.
    tab.evaluate("new Promise(resolve => setTimeout(resolve, 3000))")
    taken = base64.b64decode(tab.call("Page.captureScreenshot", format="png")["data"])
    picture = Image.open(io.BytesIO(taken)).convert("RGB").crop((0, 0, WIDTH, HEIGHT))
    picture.quantize(COLOURS, Image.Quantize.FASTOCTREE).save(file, optimize=True)
    print(file)


def main() -> None:
    """Make all pictures."""
    if CHROMIUM is None:
        sys.exit("pictures: there is no Chromium: install Debian's package chromium")
    with tempfile.TemporaryDirectory() as folder:
        homes = {
            "TRIPTYCH_CACHE_HOME": f"{folder}/cache",
            "PREFECT_HOME": f"{folder}/prefect",
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        environment = {**os.environ, **homes}
        link = compare(environment)
        [report] = Path(folder).glob("artifacts/**/report.html")
        with serving(environment) as server, opened_tab(Path(folder) / "browser") as tab:
            charts = "document.querySelectorAll('.js-plotly-plot').length > 2"
            take(tab, re.sub(r"http://[^/]+", server, link), charts, DOCS / "comparison.png", cut=ASSISTANT)
            take(tab, report.as_uri(), "document.readyState === 'complete'", DOCS / "report.png")


if __name__ == "__main__":
    main()

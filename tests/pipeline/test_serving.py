"""`triptych serve`: what its commands, its server and its page do for a model of a real comparison."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from helpers.browser import CHROMIUM, Tab, opened_tab
from helpers.commands import run
from helpers.waiting import ask, free_port, wait_until
from helpers.web import HOSTILE, FixedModel, draw, make_served, serving
from triptych.commands.serving import serve
from triptych.commands.terminal import EXIT_INTERRUPTED
from triptych.evaluation.report import ComparisonResult
from triptych.tracking.client import connect
from triptych.tracking.registry.champions import promote
from triptych.tracking.registry.versions import find_version

DIGIT = Path(__file__).parents[2] / "docs" / "digit.png"


def use_server(address: str, done: list[Any]) -> None:
    """Use a server that the main thread runs, move the alias meanwhile, and interrupt it."""
    try:
        wait_until(lambda: ask(f"{address}/health") == 200, "the server", 60)
        with httpx.Client(base_url=address, trust_env=False) as client:
            done.append(client.post("/predict", params={"top": 10}, files={"a": DIGIT.read_bytes()}).json())
            promote("digits", "2")
            wait_until(lambda: client.get("/health").json()["version"] == "2", "the new champion", 10)
            done.append(client.post("/predict", params={"top": 10}, files={"a": DIGIT.read_bytes()}).json())
    finally:
        os.kill(os.getpid(), signal.SIGINT)


def test_it_answers_as_predict_does_follows_the_alias_and_ends_at_an_interrupt(
    result: ComparisonResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    del result
    other = find_version("digits-numpy-mlp/1")
    connect().create_model_version("digits", str(other.source), model_id=other.model_id)
    monkeypatch.setattr(serve, "SECONDS_BETWEEN_CHECKS", 0.05)
    port, answers = free_port(), list[Any]()
    with ThreadPoolExecutor(1) as user:
        used = user.submit(use_server, f"http://127.0.0.1:{port}", answers)
        done = run("serve", "digits", "--port", str(port))
    used.result()
    assert done.returncode == EXIT_INTERRUPTED
    assert f"answers at http://127.0.0.1:{port}/ - Ctrl-C ends the server" in done.stdout
    assert done.stderr.endswith("triptych: digits/2 answers from now on\ntriptych: the server has ended\n")
    for version, answer in zip(("1", "2"), answers, strict=True):
        [printed] = json.loads(run("predict", f"digits/{version}", DIGIT, "--json", "--top", "10").stdout)
        [prediction] = answer["predictions"]
        assert (answer["version"], prediction["classes"]) == (version, printed["classes"])


def test_an_unknown_model_is_one_line(result: ComparisonResult) -> None:
    del result
    done = run("serve", "nobody", "--port", "0")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("triptych: no registered model 'nobody': registered are digits, ")


@pytest.fixture(scope="module")
def shades() -> Iterator[str]:
    """The address of a small model."""
    with serving(FixedModel(make_served(threshold=0.9))) as client:
        yield str(client.base_url).rstrip("/")


def choose(tab: Tab, *files: Path) -> None:
    """Choose files as a user does in the browser's dialog."""
    root = tab.call("DOM.getDocument")["root"]["nodeId"]
    node = tab.call("DOM.querySelector", nodeId=root, selector="#photos")["nodeId"]
    tab.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])


@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
def test_the_page_shows_what_the_model_says_and_asks_no_one_else(shades: str, tmp_path: Path) -> None:
    contents = {"<b>dark</b>.png": draw(0), "light.png": draw(), "torn.png": draw(128), "none.png": b"no image"}
    for name, content in contents.items():
        (tmp_path / name.replace("/", "\u2215")).write_bytes(content)
    with opened_tab(tmp_path / "profile") as tab:
        tab.call("Page.navigate", url=f"{shades}/")
        tab.wait("document.querySelector('#model')?.textContent === 'shades, version 3'")
        for key in ("rawKeyDown", "keyUp"):
            tab.call("Input.dispatchKeyEvent", type=key, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        assert tab.evaluate("document.activeElement.id") == "photos"
        choose(tab, *sorted(tmp_path.glob("*.png")))
        tab.wait("document.querySelector('#status').textContent === '3 of 4 answered, 1 could not be answered'")
        # Dropped, of a kind that the server does not take.
        tab.evaluate(
            "const dropped = new DataTransfer(); dropped.items.add(new File(['<svg>'], 'drawn.svg'));"
            "dispatchEvent(new DragEvent('drop', {dataTransfer: dropped, cancelable: true}))"
        )
        tab.wait("document.querySelector('#status').textContent === '3 of 5 answered, 2 could not be answered'")
        text = tab.evaluate("document.querySelector('#answers').innerText")
        unsure = "not sure\n\nNo class is probable enough to keep the promised error rate."
        for shown in ("<b>dark<\u2215b>.png", unsure, HOSTILE, "none.png cannot be read"):
            assert shown in text
        assert "drawn.svg cannot be read (it is SVG or XML): convert it to PNG" in text
        assert tab.evaluate("document.querySelectorAll('#answers b').length") == 0
        # A class may have the name of an answer that is none.
        for answer, name, explained in (("foreign", "dark", True), ("foreign", "foreign", False)):
            guess = json.dumps({"answer": answer, "classes": [{"class": name, "probability": 1}]})
            tab.evaluate(f"showClasses(addCard(new File([], 'a')), {guess}, '3')")
            assert tab.evaluate("document.querySelector('.why').checkVisibility()") == explained
        assert "unlike the images that the model was trained on" in tab.evaluate("document.body.innerText")
        for width, scheme in ((390, "dark"), (1400, "light")):
            tab.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
            tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.find_violations() == []
        found = {urlsplit(one.removeprefix("blob:")).netloc for one in tab.requests if not one.startswith("data:")}
        assert found == {urlsplit(shades).netloc}
        assert not [error for error in tab.errors if "/predict" not in error]

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from triptych.data.boards import BoardData
from triptych.evaluation.page.render import Context, render_page
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.report import EvaluatedPanel, MissingPanel, write_report

HOSTILE = "</script><img src=x onerror=alert(1)>"


def render(digits: BoardData, *, shared: bool = False) -> str:
    """Return a page of two panels, both of which make mistakes, with names that would do harm."""
    test, classes = digits.split.test, (HOSTILE, *digits.prepared.classes[1:])
    data = replace(digits, prepared=replace(digits.prepared, classes=classes, data_name=HOSTILE))
    labels = digits.labels[test]
    made = {
        label: Predictions(test, labels, np.eye(10)[(labels + (np.arange(540) < errors)) % 10] * 0.9 + 0.01)
        for label, errors in (("numpy-mlp", 40), ("nearest-neighbours", 25))
    }
    metrics = {"fit_seconds": 1.0, "parameters": 10.0}
    panels = [
        EvaluatedPanel(label, label, 0, label, {**metrics, "test_accuracy": float(one.correct.mean())}, shared=shared)
        for label, one in made.items()
    ]
    # The other panel lacks the second repeat, so that only the first is compared.
    panels.append(replace(panels[0], repeat=1))
    report = write_report(data.prepared, panels, made, missing=[MissingPanel(HOSTILE, HOSTILE)])
    features = np.random.default_rng(0).random((1797, 5), dtype=np.float32)
    context = Context({"comparison": HOSTILE}, HOSTILE, [HOSTILE], features=features)
    return render_page(data, report, panels, made, {}, context)


@pytest.fixture(scope="module")
def page(digits: BoardData) -> str:
    return render(digits)


def test_names_from_outside_are_only_text(page: str) -> None:
    assert "<img src=x" not in page
    # Two elements of the page's own, and no other.
    assert page.count("<script") == page.count("</script") == 2


def test_only_the_script_of_the_page_may_run_and_nothing_is_fetched(page: str) -> None:
    script = page.split("<script>")[1].split("</script>", maxsplit=1)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"


def test_the_page_can_be_read_without_its_script(page: str) -> None:
    without = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    for text in ("only one of them is right: 15 test images", "The most certain mistakes of nearest-neighbours: 25"):
        assert text in without
    assert without.count('<img src="data:image/png') >= 12
    # The classes of the best panel, its confusions, what is missing, and the map.
    assert 'id="per-class"' in without
    assert "Most confused pairs" in without
    assert "<strong>Missing:</strong>" in without
    assert "principal components" in without


def test_the_script_has_what_it_pages_through(page: str) -> None:
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    data = json.loads(text)
    assert data["classes"][0] == HOSTILE
    assert len(data["mistakes"]["images"]) == len(data["mistakes"]["pictures"]) == 40
    assert data["colours"]["numpy-mlp"] == "#0072B2"
    counts = data["perClass"]["counts"]
    assert {label: sum(map(sum, matrix)) for label, matrix in counts.items()} == dict.fromkeys(
        ("nearest-neighbours", "numpy-mlp"), 540
    )


def test_a_page_with_few_pictures_says_where_more_are(
    digits: BoardData, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triptych.evaluation.page.render.FEW_BYTES", 2000)
    repeated = render(digits, shared=True)
    assert "the report of the comparison that trained these panels has more of them" in repeated
    assert "Point at one to see its name." in repeated
    assert "these panels has more" not in page
    assert "Point at one to see its image." in page

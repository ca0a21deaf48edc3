"""What is stored and shown of many classes, at the size of a test: `make bench-pipeline` measures the real one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from large_boards import Board, compare

IMAGES, CLASSES = 300, 200


def test_two_hundred_classes_are_stored_in_little_and_shown_by_what_matters(own_store: str, tmp_path: Path) -> None:
    from triptych.tracking.client import connect

    costs = compare(Board(IMAGES, CLASSES, panels=2, repeats=1), tmp_path)
    assert sum(costs.bytes.values()) < 2e6, costs.bytes
    assert costs.bytes["report.html"] < 8e5
    client = connect()
    assert client.tracking_uri == own_store
    first, second = client.search_runs(["1"], "tags.`triptych.role` = 'panel'")
    assert first.data.tags["mlflow.runColor"] != second.data.tags["mlflow.runColor"]
    folder = Path(client.download_artifacts(first.info.run_id, "", str(tmp_path)))
    matrix = json.loads((folder / "confusion_matrix.json").read_text())
    assert set(matrix) == {"classes", "true", "predicted", "images"}
    assert sum(matrix["images"]) == IMAGES
    right = sum(n for a, b, n in zip(matrix["true"], matrix["predicted"], matrix["images"], strict=True) if a == b)
    assert right / IMAGES == first.data.metrics["test_accuracy"]
    # MLflow's page shows the mistakes; programs find every image.
    assert not (folder / "test_predictions.json").exists()
    table = client.load_table("1", "test_mistakes.json", [first.info.run_id])
    assert len(table) == IMAGES - right > 0
    assert not (table["class"] == table["predicted"]).any()
    with np.load(folder / "test_predictions.npz") as arrays:
        assert arrays["probabilities"].shape == (IMAGES, CLASSES)
    [page] = tmp_path.glob("artifacts/**/report.html")
    text = page.read_text()
    assert "Most confused pairs of" in text
    assert '<table class="matrix">' not in text

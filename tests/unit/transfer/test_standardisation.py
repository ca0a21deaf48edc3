from __future__ import annotations

import numpy as np
from sklearn.preprocessing import StandardScaler

from triptych.networks.head import Head
from triptych.networks.light_torch import build_linear
from triptych.networks.minibatches import Examples
from triptych.transfer.standardisation import Standardisation


def draw_rows() -> np.ndarray:
    """Rows with dimensions of very different scales, one that never varies, and one that varies by rounding alone."""
    rng = np.random.default_rng(0)
    rows = rng.gamma(2.0, 1.0, size=(5000, 6)) * np.array([1e-3, 1.0, 1e3, 0.0, 1.0, 1.0])
    rows[:, 4] = 7.0
    rows[:, 5] = 1e3 + rng.choice([0.0, 1e-4], size=5000)
    drawn: np.ndarray = rows.astype(np.float32)
    return drawn


def test_rows_are_standardised_as_by_scikit_learn() -> None:
    rows = draw_rows()
    standardisation = Standardisation.fit(rows)
    expected = StandardScaler().fit(rows[:, :5].astype(np.float64))
    np.testing.assert_allclose(standardisation.mean[:5], expected.mean_, rtol=1e-9)
    np.testing.assert_allclose(1 / standardisation.scale[:5], expected.scale_, rtol=1e-9)
    assert standardisation.scale[5] == 1.0, "rounding is not scaled up"
    examples = standardisation.of(Examples(rows, np.zeros(len(rows), dtype=np.int64)))
    assert examples.features.shape == rows.shape
    np.testing.assert_allclose(examples.features[7:9], standardisation.apply(rows)[7:9])


def test_a_head_on_rows_as_they_are_computes_the_same() -> None:
    rows = draw_rows()
    standardisation = Standardisation.fit(rows)
    head = Head(build_linear(6, 3, np.random.default_rng(1)), dropout=0.2, iterations=4)
    undone = standardisation.undo(head)
    expected = head.predict_proba(standardisation.apply(rows))
    np.testing.assert_allclose(undone.predict_proba(rows), expected, atol=2e-5)
    assert (undone.dropout, undone.iterations) == (0.2, 4)

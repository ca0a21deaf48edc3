from __future__ import annotations

from triptych.evaluation.amount.forecast import Amount, Estimate
from triptych.evaluation.amount.page import build_amount_rows, render_amount_page

AMOUNT = Amount(
    "numpy-mlp",
    "numpy-mlp <b>",
    measured=(Estimate(500, 0.9, 0.88, 0.92), Estimate(1000, 0.92, 0.9, 0.94)),
    forecast=(Estimate(2000, 0.93, 0.91, 0.95),),
    gains=(Estimate(2000, 0.01, 0.002, 0.02),),
    limit=Estimate(1000, 0.95, 0.93, 1.0),
    exponent=Estimate(1000, 0.5, 0.2, 0.9),
    confidence_level=0.95,
)


def test_measured_and_forecast_accuracies_have_a_row_each() -> None:
    rows = build_amount_rows([AMOUNT])
    assert [row["images"] for row in rows] == ["500", "1,000", "2,000"]
    assert rows[-1] == {
        "panel": "numpy-mlp <b>",
        "images": "2,000",
        "accuracy (%)": "93.0",
        "interval": "91.0 to 95.0",
        "gain in points": "+1.0 (0.2 to 2.0)",
    }


def test_the_page_is_one_file_with_text_from_outside_escaped() -> None:
    page = render_amount_page("digits", [AMOUNT])
    assert "<svg" in page
    assert "twice as many" in page
    assert "<b>" not in page
    assert "<script" not in page

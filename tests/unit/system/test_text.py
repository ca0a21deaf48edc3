from __future__ import annotations

import pytest

from triptych.system.text import escape_formula, escape_markdown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("numpy-mlp #1 (val_loss 0.5)", "numpy-mlp #1 (val_loss 0.5)"),
        ("[a](javascript:b)", r"\[a\](javascript:b)"),
        ("`a` | **b** \\", r"\`a\` \| \*\*b\*\* " + "\\\\"),
        ("<img src=x>", "&lt;img src=x>"),
        ("two\nlines", r"two\\nlines"),
    ],
)
def test_markdown_shows_a_name_as_it_is(text: str, shown: str) -> None:
    assert escape_markdown(text) == shown


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_a_spreadsheet_computes_nothing(text: str) -> None:
    assert escape_formula(text) == f"'{text}"


def test_an_ordinary_cell_is_left_alone() -> None:
    assert escape_formula("photos/ants 1=2.jpg") == "photos/ants 1=2.jpg"

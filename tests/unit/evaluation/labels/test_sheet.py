from __future__ import annotations

import pytest

from triptych.data.boards import BoardData
from triptych.evaluation.environment import build_environment
from triptych.evaluation.labels import sheet
from triptych.evaluation.labels.judge import JudgedLabels
from triptych.evaluation.labels.sheet import render_sheet, show_suspects
from triptych.evaluation.labels.suspects import Suspect


def test_suspects_and_outliers_are_shown_up_to_a_number(digits: BoardData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "SHOWN", 2)
    monkeypatch.setattr(sheet, "SHOWN_IN_REPORT", 1)
    judged = JudgedLabels(digits, [Suspect(index, 3, 8, 0.9) for index in range(3)], [5], 0.98)
    page = render_sheet(judged)
    assert page.count("<img") == page.count("data:image/") == 3
    assert "1 more are in corrections.csv" in page
    template = build_environment().get_template("suspects.html")
    section = template.render(labels=show_suspects(judged))
    assert section.count("data:image/") == 1
    assert "2 more are in suspected_labels.json" in section
    for silent in (None, show_suspects(JudgedLabels(digits, [], [], 0.98))):
        assert template.render(labels=silent).strip() == ""

from __future__ import annotations

import json
import re
from dataclasses import replace

from helpers.nights import make_night, make_nights
from triptych.evaluation.history.changes import list_changes, summarise
from triptych.evaluation.history.nights import Night
from triptych.evaluation.history.page import (
    BoardHistory,
    build_panel_rows,
    build_rows,
    render_history_page,
    select_since,
)

NIGHTS = [*make_nights(), make_night(20, 440, 515, 100), make_night(21)]


def tell(nights: list[Night], board: str = "photos") -> BoardHistory:
    changes = list_changes(nights)
    return BoardHistory(board, summarise(board, nights, changes), nights, changes)


def test_the_page_has_the_facts_first_and_asks_for_nothing() -> None:
    page = render_history_page([tell(NIGHTS, "<b>"), tell([make_night(0)])])
    assert "<b>" not in page
    assert page.index("the comparison ended without a result; the last result is panel-0") < page.index("<svg")
    assert "Not drawn, as less than half as accurate: panel-2." in page
    assert "panel-0 is worse than chance explains" in page
    assert "embeddings that an earlier night stored take none" in page
    assert "default-src 'none'" in page
    addresses = set(re.findall(r"""(?:https?:)?//[\w.-]+[^"' <]*""", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    # Of two widths each, and no two that share an id.
    names = re.findall(r'id="([^"]+)"', page)
    assert len(names) == len(set(names))
    assert page.count("<svg") == 8


def test_rows_are_the_newest_night_first_and_the_panels_of_the_last_result() -> None:
    history = tell(NIGHTS)
    rows = build_rows(history)
    assert [row["what happened"] for row in rows[:3]] == ["failed", "panels, worse", "-"]
    assert (rows[0]["panel-0"], rows[1]["panel-0"], rows[2]["panel-2"]) == ("-", "0.8148", "-")
    first, *_ = build_panel_rows(history)
    assert (first["panel"], first["accuracy"], first["nights"][-1]) == ("panel-0", "0.8148", "▁")
    assert history.alarms == [next(one.text for one in history.changes if one.kind == "worse")]
    assert json.loads(json.dumps(history.as_json()))["nights"][0]["comparison"] == "night-000"


def test_a_time_selects_nights_and_what_happened_in_them() -> None:
    history = tell(NIGHTS)
    found = select_since(history, NIGHTS[-1].started / 1000)
    assert found is not None
    assert ([len(found.nights), len(found.changes)], found.summary) == ([1, 1], history.summary)
    assert select_since(history, NIGHTS[-1].started / 1000 + 1) is None
    assert replace(found, changes=[]).alarms == []

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from helpers.nights import make_night, make_nights
from triptych.evaluation.charts.vega import draw
from triptych.evaluation.history.changes import list_changes
from triptych.evaluation.history.charts import chart_accuracies, chart_images, chart_quantity, choose_shown

NIGHTS = [*make_nights(), make_night(20, 440, 515, 100), make_night(21)]
COLOURS = {"panel-0": "#0072B2", "panel-1": "#D55E00"}


def test_a_panel_that_hardly_learns_is_not_drawn() -> None:
    assert choose_shown(NIGHTS) == ["panel-0", "panel-1"]


def test_every_chart_has_the_same_axis_of_time() -> None:
    drawn, strip = chart_accuracies(NIGHTS, list_changes(NIGHTS), COLOURS, 300)["vconcat"]
    others = [chart_quantity(NIGHTS, COLOURS, "seconds", 300), chart_images(NIGHTS, 300)["layer"][0], strip]
    ends = [one["encoding"]["x"]["scale"]["domain"] for one in (drawn["layer"][0], *others)]
    assert ends == [[NIGHTS[0].time.isoformat(), NIGHTS[-1].time.isoformat()]] * 4


def test_the_evening_is_not_the_morning() -> None:
    evening = datetime(2026, 3, 1, 19, 8).astimezone()
    started = [int(1000 * (evening + timedelta(minutes=minutes)).timestamp()) for minutes in (0, 4)]
    nights = [replace(NIGHTS[0], started=one) for one in started]
    drawing = draw(chart_quantity(nights, COLOURS, "seconds", 300), "seconds", "seconds of each night")
    assert ">19:10<" in drawing
    assert ">07:10<" not in drawing


def test_an_alarm_and_a_failure_are_marked_on_their_day() -> None:
    drawn, strip = chart_accuracies(NIGHTS, list_changes(NIGHTS), COLOURS, 300)["vconcat"]
    assert drawn["layer"][2]["data"]["values"] == [{"time": NIGHTS[-2].time.isoformat()}]
    rows = {(row["time"], row["kind"]): row["bad"] for row in strip["data"]["values"]}
    assert rows[NIGHTS[-2].time.isoformat(), "worse"]
    assert rows[NIGHTS[-1].time.isoformat(), "failed"]
    assert not rows[NIGHTS[-2].time.isoformat(), "panels"]

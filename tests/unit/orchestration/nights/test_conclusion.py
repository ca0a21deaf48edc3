from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings

from helpers.nights import make_night, make_nights
from triptych.evaluation.history.alarm import judge_last
from triptych.orchestration.nights.conclusion import WORSE, report_alarms


@pytest.fixture
def _recorded_events() -> Iterator[None]:
    """Record events instead of sending them to a server."""
    EventsWorker.set_client_override(AssertingEventsClient)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), disable_run_logger():
        yield
    EventsWorker.set_client_override(None)


@pytest.mark.usefixtures("_recorded_events")
def test_a_night_that_is_worse_is_one_event_and_another_is_none() -> None:
    nights = make_nights()
    report_alarms("photos", "night-011", judge_last(nights))
    alarms = judge_last([*nights, make_night(20, 440, 430)])
    report_alarms("photos", "night-020", alarms)
    EventsWorker.instance().drain()
    assert AssertingEventsClient.last is not None
    [event] = AssertingEventsClient.last.events
    assert (event.event, event.resource.id, event.resource.name) == (WORSE, "triptych.board.photos", "photos")
    assert event.payload["comparison"] == "night-020"
    assert [panel["label"] for panel in event.payload["panels"]] == ["panel-0", "panel-1"]
    assert event.payload["text"] == "; ".join(alarm.sentence for alarm in alarms)

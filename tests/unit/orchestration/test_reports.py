from __future__ import annotations

import logging
import threading
from contextvars import ContextVar
from functools import partial

import pytest

from triptych.orchestration import reports
from triptych.orchestration.reports import ReportSender


def test_a_report_that_waits_is_replaced_by_the_next_one_on_the_same_subject() -> None:
    sender, started, server_is_back = ReportSender(), threading.Event(), threading.Event()
    sent: list[tuple[str, int]] = []

    def wait() -> None:
        started.set()
        server_is_back.wait()

    sender.send("first", wait)
    started.wait()
    for subject, value in [("one", 1), ("other", 2), ("one", 3)]:
        sender.send(subject, partial(sent.append, (subject, value)))
    assert not sender.finish(seconds=0.01)
    assert sent == []
    server_is_back.set()
    assert sender.finish(seconds=20)
    assert sent == [("one", 3), ("other", 2)]


def test_a_report_that_fails_is_a_warning_and_the_next_one_is_sent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reports, "get_run_logger", lambda: logging.getLogger("test"))
    sender = ReportSender()
    sent: list[str] = []

    def fail() -> None:
        raise ConnectionResetError("cut")

    sender.send("first", fail)
    sender.send("second", lambda: sent.append("second"))
    assert sender.finish(seconds=20)
    assert sent == ["second"]
    assert "could not be updated: ConnectionResetError('cut')" in caplog.text


def test_a_report_is_sent_in_the_context_of_its_caller() -> None:
    run = ContextVar("run", default="none")
    sender = ReportSender()
    sent: list[str] = []
    run.set("a task")
    sender.send("first", lambda: sent.append(run.get()))
    run.set("another")
    assert sender.finish(seconds=20)
    assert sent == ["a task"]

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from triptych.commands import signals
from triptych.commands.signals import runs_closed_by_signals


@pytest.fixture(autouse=True)
def _handlers_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_block_that_ends_leaves_the_handlers_as_they_were() -> None:
    before = signal.getsignal(signal.SIGINT)
    with runs_closed_by_signals():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_a_closed_terminal_counts_as_a_request_to_end() -> None:
    received = []
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may outlive their terminal
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    with runs_closed_by_signals():
        os.kill(os.getpid(), signal.SIGHUP)
    assert received == [signal.SIGTERM]


def test_a_program_that_outlives_its_terminal_goes_on() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with runs_closed_by_signals():
        os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_the_second_interrupt_ends_at_once_also_after_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(signals, "end_at_once", ended.set)
    with pytest.raises(KeyboardInterrupt), runs_closed_by_signals():
        os.kill(os.getpid(), signal.SIGINT)
    assert not ended.is_set()
    os.kill(os.getpid(), signal.SIGINT)
    assert ended.wait(20)

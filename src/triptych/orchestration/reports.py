"""Reports to Prefect's server that are only for display, sent by a thread of their own: no training waits for one."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from contextvars import copy_context

from prefect.logging import get_run_logger

# At the end of the process, for what is still on its way.
SECONDS_TO_FINISH = 2.0

Send = Callable[[], None]


class ReportSender:
    """Sends reports one after another. Of several that replace each other, it sends the last."""

    def __init__(self) -> None:
        """Start without reports."""
        self._waiting: dict[object, Send] = {}
        self._changed = threading.Condition()
        self._sending = False
        self._thread: threading.Thread | None = None

    def send(self, subject: object, report: Send) -> None:
        """Send a report soon, in the context of the caller.

        Args:
            subject: a report that waits is replaced by the next one with the same subject.
            report: sends it; an error that it raises is logged as a warning.
        """
        context = copy_context()
        with self._changed:
            self._waiting[subject] = lambda: context.run(_send_if_possible, report)
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_all, name="reports", daemon=True)
                self._thread.start()
                atexit.register(self.finish)
            self._changed.notify_all()

    def finish(self, seconds: float = SECONDS_TO_FINISH) -> bool:
        """Wait until all reports are sent, but not for longer than some seconds; return whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._sending, seconds)

    def _send_all(self) -> None:
        while True:
            with self._changed:
                self._sending = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting)
                report = self._waiting.pop(next(iter(self._waiting)))
                self._sending = True
            report()


# Of this process.
reports = ReportSender()


def _send_if_possible(report: Send) -> None:
    try:
        report()
    except Exception as error:  # noqa: BLE001 - whatever it is, the work goes on
        get_run_logger().warning("the progress on Prefect's server could not be updated: %r", error)

"""Showing the progress of long work: in a terminal what is going on now, elsewhere a line now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

# Without a terminal, work that goes on prints a line this often, in seconds, and later after each twentieth of its time
# so far, but once a minute at least.
SHORTEST_SILENCE, LONGEST_SILENCE, SHARE = 5.0, 60.0, 0.05
# Shorter work needs no forecast.
SECONDS_WORTH_FORECAST = 2.0
REFRESHES_PER_SECOND = 4
# Characters of a name and of a bar, and the width of a terminal that has room for a bar.
NAME_WIDTH, BAR, ROOM_FOR_BAR = 26, 12, 100
MINUTE, HOUR = 60, 3600


class OnProgress(Protocol):
    """A function that is called as work advances."""

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        """Show that `done` of `total` units are finished.

        Args:
            done: units finished so far.
            total: units in all.
            detail: a few words to show beside them.
        """


@dataclass(eq=False)
class Work:
    """A piece of work that is going on.

    Attributes:
        description: its name.
        passing: whether nothing is to be said of it once it has ended.
        started: when it began, by the clock.
        done: units finished so far.
        total: units in all; 0 if nothing is counted.
        detail: a few words.
        first: units that were finished, and the time, when it was first counted: they may come from a store.
        printed: when a line was last printed.
    """

    description: str
    passing: bool = False
    started: float = field(default_factory=time.monotonic)
    done: int = 0
    total: int = 0
    detail: str = ""
    first: tuple[int, float] | None = None
    printed: float = 0.0

    def move(self, done: int, total: int, detail: str = "") -> None:
        """Note how much is done."""
        self.done, self.total, self.detail = done, total, detail
        self.first = self.first or (done, time.monotonic())

    def find_rate(self, now: float) -> float:
        """Return the units a second since the first count; 0 if nothing can be said."""
        before, since = self.first or (0, now)
        worth = now - self.started >= SECONDS_WORTH_FORECAST and now > since
        return (self.done - before) / (now - since) if worth else 0.0

    def is_due(self, now: float) -> bool:
        """Return whether it has been silent for too long."""
        silence = min(LONGEST_SILENCE, max(SHORTEST_SILENCE, SHARE * (now - self.started)))
        return now - max(self.started, self.printed) >= silence

    def describe(self, now: float, name_width: int = NAME_WIDTH, *, ended: bool = False, bar: bool = False) -> str:
        """Return the work as a line: its name, how much is done, the time so far, and what is known beyond that.

        A terminal cuts off the end of the line, so that the first three can always be read.

        Args:
            now: the time, by the clock.
            name_width: characters for its name.
            ended: whether it has ended.
            bar: whether there is room for a bar.
        """
        whole = ended and self.done == self.total
        count = f"{self.total:,}" if whole else f"{self.done:,}/{self.total:,}"
        rate = 0.0 if ended else self.find_rate(now)
        left = format_seconds((self.total - self.done) / rate) + " left" if rate and self.done < self.total else ""
        facts = ", ".join(filter(None, (format_rate(rate), left, self.detail)))
        drawn = f"{draw_bar(self.done / self.total if self.total else 0.0)} " if bar else ""
        name = self.description if len(self.description) <= name_width else f"{self.description[: name_width - 1]}…"
        counted = count if self.total else ""
        return f"{name:<{name_width}} {drawn}{counted:>9} {format_seconds(now - self.started):>5}  {facts}".rstrip()


def format_seconds(seconds: float) -> str:
    """Return a time as minutes and seconds, or with hours.

    >>> format_seconds(7.2), format_seconds(754), format_seconds(7325)
    ('0:07', '12:34', '2:02:05')
    """
    whole = round(seconds)
    hours, rest = divmod(whole, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_rate(rate: float) -> str:
    """Return units a second, or a minute if they are slow; nothing of a rate of zero.

    >>> format_rate(1234.5), format_rate(2.345), format_rate(0.05), format_rate(0)
    ('1,234/s', '2.3/s', '3.0/min', '')
    """
    if not rate:
        return ""
    if rate < 1:
        return f"{MINUTE * rate:.1f}/min"
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def draw_bar(share: float) -> str:
    """Return a bar of a fixed width.

    >>> draw_bar(0.5)
    '━━━━━━      '
    """
    return f"{'━' * int(share * BAR):<{BAR}}"


class Display:
    """The pieces of work that are going on, and the console that shows them."""

    def __init__(self, console: Console) -> None:
        """Start without work."""
        self.console = console
        self._works: list[Work] = []
        self._lock = threading.Lock()
        # Without a terminal, what ends early is held back: of a command that then refuses its input, the error is all.
        self._began, self._held = time.monotonic(), list[str]()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the work while the block runs."""
        if self._is_live:
            # What has ended is printed above it.
            with Live(
                get_renderable=self.render,
                console=self.console,
                refresh_per_second=REFRESHES_PER_SECOND,
                transient=True,
                redirect_stdout=False,
            ):
                yield
            return
        ended = threading.Event()
        printing = threading.Thread(target=self._print_what_lasts, args=(ended,), name="progress", daemon=True)
        printing.start()
        try:
            yield
            self._print_held()
        finally:
            ended.set()
            printing.join()

    def begin(self, work: Work) -> None:
        """Show a piece of work from now on."""
        with self._lock:
            self._works.append(work)

    def remove(self, work: Work) -> None:
        """Show it no more."""
        with self._lock:
            self._works.remove(work)

    def render(self) -> Group:
        """Return what a terminal shows: a line for each piece of work, as much of it as there is room for."""
        now, bar = time.monotonic(), self.console.width >= ROOM_FOR_BAR
        with self._lock:
            lines = [work.describe(now, self._find_name_width(work), bar=bar) for work in self._works]
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))

    @property
    def _is_live(self) -> bool:
        return self.console.is_terminal and not self.console.is_dumb_terminal

    def _find_name_width(self, work: Work) -> int:
        """Return a third of a terminal; elsewhere no name is cut off."""
        return self.console.width // 3 if self._is_live else max(NAME_WIDTH, len(work.description))

    def _print_what_lasts(self, ended: threading.Event) -> None:
        while not ended.wait(SHORTEST_SILENCE / 5):
            now = time.monotonic()
            with self._lock:
                due = [work for work in self._works if work.is_due(now)]
            if now - self._began >= SHORTEST_SILENCE:
                self._print_held()
            for work in due:
                work.printed = now
                self.print(work)

    def print(self, work: Work, *, ended: bool = False) -> None:
        """Print its line, which stays."""
        now = time.monotonic()
        with self._lock:
            self._held.append(work.describe(now, self._find_name_width(work), ended=ended))
        if self._is_live or now - self._began >= SHORTEST_SILENCE:
            self._print_held()

    def _print_held(self) -> None:
        with self._lock:
            lines, self._held = self._held, []
        for line in lines:
            self.console.print(line, soft_wrap=True, highlight=False, markup=False)


# The display of the command line. A worker has none: its progress is on Prefect's page.
_display: ContextVar[Display | None] = ContextVar("display", default=None)


@contextmanager
def show_progress(console: Console) -> Iterator[None]:
    """Show each piece of work that is tracked while the block runs, in this context and copies of it.

    In a terminal there is a line for each that changes as it advances; elsewhere a line is printed when it ends, and
    now and then while it lasts.
    """
    display = Display(console)
    with display.shown():
        token = _display.set(display)
        try:
            yield
        finally:
            _display.reset(token)


@contextmanager
def tracking(description: str, *, passing: bool = False) -> Iterator[OnProgress]:
    """Show a piece of work while the block runs, on the display if there is one.

    Args:
        description: its name.
        passing: show it only while it lasts.

    Yields:
        A function that moves it. Without a call only its time is shown.
    """
    display, work = _display.get(), Work(description, passing=passing)
    if display is None:
        yield work.move
        return
    display.begin(work)
    try:
        yield work.move
    finally:
        display.remove(work)
    # Of work that failed, the error says more.
    if not passing:
        display.print(work, ended=True)

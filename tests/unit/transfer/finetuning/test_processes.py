from __future__ import annotations

import multiprocessing
import signal
from multiprocessing.connection import Pipe
from pathlib import Path
from queue import Queue

import pytest

from triptych.errors import DivergenceError, ProcessError
from triptych.transfer.finetuning import processes


class Process:
    """Stands for a process that has ended."""

    def __init__(self, exitcode: int) -> None:
        self.exitcode = exitcode

    def join(self) -> None:
        """It has ended."""


def explain(folder: Path, *codes: int) -> str:
    failed = [number for number, code in enumerate(codes) if code]
    return processes._explain([Process(code) for code in codes], failed, folder)  # type: ignore[misc]


def test_the_process_that_a_signal_killed_is_named_with_the_remedy(tmp_path: Path) -> None:
    assert explain(tmp_path, 1, -9).startswith("process 2 of 2 was killed by signal 9: try transfer.processes=1")


def test_the_last_line_that_a_process_printed_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "output-1.txt").write_text("Traceback ...\nValueError: no luck\n\n", encoding="utf-8")
    assert explain(tmp_path, 0, 3).startswith("process 2 of 2 ended with exit code 3 (ValueError: no luck): try")


def test_only_errors_of_this_project_are_returned() -> None:
    error = DivergenceError("the loss is nan")

    def work(number: int, send: processes.Send) -> None:
        send(number)
        if number:
            raise error if number == 1 else ValueError("no luck")

    sent: list[object] = []
    assert processes._attempt(work, 0, sent.append) is None
    assert processes._attempt(work, 1, sent.append) is error
    with pytest.raises(ValueError, match="no luck"):
        processes._attempt(work, 2, sent.append)
    assert sent == [0, 1, 2]


def test_messages_that_arrived_before_a_process_ended_are_read() -> None:
    ours, theirs = Pipe()
    for message in (1, "two"):
        theirs.send(message)
    theirs.close()
    assert list(processes._receive(ours)) == [1, "two"]


def test_a_daemon_may_start_processes_meanwhile_and_interrupts_are_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing.current_process(), "daemon", True)
    with processes._children_allowed(), processes._interrupts_blocked():
        assert not multiprocessing.current_process().daemon
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert multiprocessing.current_process().daemon
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_process_ends_when_its_parent_has_closed_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: Queue[int] = Queue()
    monkeypatch.setattr("triptych.transfer.finetuning.processes.os._exit", codes.put)
    ours, theirs = Pipe()
    processes._end_with_parent(theirs)
    ours.close()
    assert codes.get(timeout=30) == 1


def test_a_process_that_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=r"process 1 of 1 ended with exit code 1 \(ValueError: invalid literal"):
        processes.run_in_processes(convert, 1, tmp_path, print)


def convert(number: int, _: processes.Send) -> None:
    int(f"process {number}")

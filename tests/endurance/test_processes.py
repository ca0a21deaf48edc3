"""The processes of one training: their messages, their errors and their end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from helpers.in_processes import (
    fail_first_kill_second,
    kill_the_second,
    print_and_count,
    raise_error,
    send_pid_and_report_when,
    send_pid_and_wait,
)
from helpers.waiting import wait_until
from triptych.errors import ProcessError, UnreadableImageError
from triptych.transfer.finetuning.processes import run_in_processes

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(600)]


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, or only waits for its parent to read its exit code."""
    command = Path(f"/proc/{pid}/cmdline")
    return not command.exists() or not command.read_bytes()


def test_a_process_that_is_killed_ends_the_others(tmp_path: Path) -> None:
    remedy = "try transfer.processes=1, which takes less memory and shows the whole error"
    with pytest.raises(ProcessError, match=f"^process 2 of 2 was killed by signal 9: {remedy}$"):
        run_in_processes(kill_the_second, 2, tmp_path, print)
    assert not multiprocessing.active_children()


def test_a_killed_process_is_named_rather_than_those_that_missed_it(tmp_path: Path) -> None:
    file = tmp_path / "second"

    def wait_for_both_to_end(first: int) -> None:
        wait_until(lambda: has_ended(first) and has_ended(int(file.read_text())), "the end of both")

    with pytest.raises(ProcessError, match="process 2 of 2 was killed by signal 9"):
        run_in_processes(partial(fail_first_kill_second, file), 2, tmp_path, wait_for_both_to_end)


def test_an_error_of_this_project_is_raised_as_it_is(tmp_path: Path) -> None:
    error = UnreadableImageError(Path("a.jpg"), "it is cut off", "remove it")
    with pytest.raises(type(error)) as caught:
        run_in_processes(partial(raise_error, error), 2, tmp_path, print)
    assert str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)


def test_an_error_while_a_message_is_handled_ends_the_processes(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(pid: int) -> None:
        pids.append(pid)
        if len(pids) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_processes(send_pid_and_wait, 2, tmp_path, interrupt)
    assert all(has_ended(pid) for pid in pids)


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(
        "import os, time\ndef work(number, send):\n    send(os.getpid())\n    time.sleep(60)\n"
    )
    parent = (
        "import os, signal\nfrom pathlib import Path\nfrom waiting import work\n"
        "from triptych.transfer.finetuning.processes import run_in_processes\n"
        "def die(pid):\n    print(pid, flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "run_in_processes(work, 1, Path.cwd(), die)\n"
    )
    killed = subprocess.run([sys.executable, "-c", parent], cwd=tmp_path, timeout=60, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    wait_until(lambda: has_ended(int(killed.stdout)), "the end of the process")


def test_interrupts_reach_the_parent_alone(tmp_path: Path) -> None:
    received: list[Any] = []

    def interrupt(message: Any) -> None:
        received.append(message)
        if isinstance(message, int):
            assert os.getpgid(message) != os.getpgid(0)
            os.kill(message, signal.SIGINT)
            (tmp_path / "interrupted").touch()

    run_in_processes(partial(send_pid_and_report_when, tmp_path / "interrupted"), 1, tmp_path, interrupt)
    assert received[1:] == ["still running"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_thread_of_a_daemon_starts_processes_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing.current_process(), "daemon", True)
    received: list[tuple[int, int]] = []
    with ThreadPoolExecutor(1) as pool:
        pool.submit(run_in_processes, print_and_count, 2, tmp_path, received.append).result()
    assert sorted(received) == [(number, count) for number in range(2) for count in range(3)]
    assert multiprocessing.current_process().daemon
    assert capfd.readouterr() == ("", "")

from __future__ import annotations

import subprocess
import sys

IMPORT = "import atexit, signal; atexit.register(print, 'torn down'); import triptych.fork_server"


def run_python(code: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_the_fork_server_ends_without_teardown_and_ignores_ctrl_c() -> None:
    done = run_python(f"from multiprocessing.forkserver import main; {IMPORT}; signal.raise_signal(signal.SIGINT)")
    assert not done.stdout + done.stderr


def test_other_processes_keep_their_end_and_ctrl_c() -> None:
    done = run_python(f"{IMPORT}; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)")
    assert done.stdout.split() == [b"True", b"torn", b"down"]

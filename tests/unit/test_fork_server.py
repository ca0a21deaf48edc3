from __future__ import annotations

import subprocess
import sys


def test_the_fork_server_ends_without_teardown_and_ignores_ctrl_c() -> None:
    code = "import atexit, signal; atexit.register(print, 'torn down'); import triptych.fork_server"
    interrupted = f"{code}; signal.raise_signal(signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", interrupted], capture_output=True, check=True)
    assert not done.stdout + done.stderr

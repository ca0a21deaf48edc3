from __future__ import annotations

import subprocess
import sys


def test_the_fork_server_ends_without_teardown() -> None:
    code = "import atexit; atexit.register(print, 'torn down'); import triptych.fork_server"
    assert not subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout

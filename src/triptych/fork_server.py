"""The ends of Python's fork server and of the workers that it forks: the server imports this module last.

The server ends after the command, however that ends. The teardown of PyTorch and MLflow would take it four more seconds
of a core. Its children, the workers, never run what is registered here.

Ctrl-C in a terminal reaches every process of the command. The command alone handles it, and ends the workers; they
inherit that they ignore it, and would otherwise print a traceback each.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys

# Whatever else imports this module, such as a test, keeps its Ctrl-C and its end.
if any("multiprocessing.forkserver" in argument for argument in sys.orig_argv):
    atexit.register(os._exit, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

"""The end of Python's fork server, which imports this module last; nothing else imports it.

The server ends after the command, however that ends. The teardown of PyTorch and MLflow would take it four more seconds
of a core. Its children, the workers, never run what is registered here.
"""

from __future__ import annotations

import atexit
import os

atexit.register(os._exit, 0)

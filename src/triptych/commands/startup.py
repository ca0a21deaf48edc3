"""Libraries that take seconds to import, begun in the background, and without a search for garbage."""

from __future__ import annotations

import gc
import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from triptych.config.resolve import Config


@contextmanager
def spare_imports_the_collector() -> Iterator[None]:
    """Collect no garbage while the block imports: what is imported stays, and is never looked at again.

    The collector would walk through all modules again and again, for a tenth of the time that they take.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_early(config: Config) -> None:
    """Begin to import what the panels need, which takes longest from a cold disk.

    Only libraries that import nothing of what this process imports in the meantime: two threads that meet in a circle
    of imports see modules half made.
    """
    backbones = any(board.backbone_panels for board in config.boards)
    threading.Thread(target=importlib.import_module, args=("torchvision.models" if backbones else "torch",)).start()

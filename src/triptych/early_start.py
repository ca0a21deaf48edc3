"""What takes long before a flow can run, begun early and side by side: Prefect's temporary server, and libraries."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from contextlib import suppress

from triptych.config import Config


def start_early(config: Config) -> Callable[[], None]:
    """Begin in the background what a flow needs; return a function that waits until Prefect can be called.

    Prefect starts its temporary server at the first call, in a process of its own that takes many seconds on another
    core, while this one imports.
    """
    threading.Thread(target=import_libraries, args=(config,), daemon=True).start()
    server = threading.Thread(target=reach_server, daemon=True)
    server.start()
    return server.join


def import_libraries(config: Config) -> None:
    """Import what the panels need."""
    backbones = any(board.backbone_panels for board in config.boards)
    for library in ("torch", *(["torchvision.models"] if backbones else [])):
        importlib.import_module(library)


def reach_server() -> None:
    """Call Prefect's server once; whatever is wrong with it, the flow run meets it again and says so."""
    from prefect.client.orchestration import get_client

    with suppress(Exception), get_client(sync_client=True) as client:
        client.api_healthcheck()

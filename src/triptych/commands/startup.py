"""How a command runs a flow: libraries and Prefect's server take seconds to start, and the checks run meanwhile."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from triptych.commands.prefect_server import check_server
from triptych.commands.preflight import check_early
from triptych.commands.signals import runs_closed_by_signals
from triptych.commands.temporary_server import TemporaryServer
from triptych.commands.terminal import errors
from triptych.config.resolve import Config
from triptych.config.runner import THREADS
from triptych.system.own_memory import garbage_collection_paused
from triptych.system.progress import show_progress, tracking

if TYPE_CHECKING:
    from prefect import Flow

Result = TypeVar("Result")


def run_flow(
    check: Callable[[], object],
    import_flow: Callable[[], Flow[..., Result]],
    config: Config,
    *parameters: object,
    runner: str,
) -> Result:
    """Check paths and weights, start Prefect's server, meanwhile check the rest and import what is slow; run a flow.

    Args:
        check: raises an error where an input is bad, before anything slow is imported.
        import_flow: imports the flow and returns it.
        config: the first parameter of the flow.
        parameters: its other parameters.
        runner: where its tasks run, as `--runner` takes it.
    """
    with show_progress(errors):
        with tracking("check paths and weights", passing=True):
            check_early(config)
        return _run_checked(check, import_flow, config, *parameters, runner=runner)


def _run_checked(
    check: Callable[[], object],
    import_flow: Callable[[], Flow[..., Result]],
    config: Config,
    *parameters: object,
    runner: str,
) -> Result:
    from triptych.data.preparation import boards_prepared_once

    server = TemporaryServer()
    with runs_closed_by_signals(), boards_prepared_once():
        with garbage_collection_paused(), tracking("start Prefect and MLflow", passing=True):
            check_server()
            check()
            if runner == THREADS:
                import_early(config)
            flow = import_flow()
            from triptych.orchestration import run_on
            from triptych.tracking.client import connect

            connect()
            server.connect_prefect()
        return run_on(runner, flow, config, *parameters)


def import_early(config: Config) -> None:
    """Import in the background what the panels need, which takes longest from a cold disk.

    Only libraries that share no import with what this thread imports at the same time: two threads that meet in an
    import circle see half-initialised modules.
    """
    backbones = any(board.backbone_panels for board in config.boards)
    threading.Thread(
        target=importlib.import_module, args=("triptych.networks.light_torchvision" if backbones else "torch",)
    ).start()

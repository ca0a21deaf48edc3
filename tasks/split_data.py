"""Prepare a board (load, check and split its data), and start its comparison in MLflow."""

from __future__ import annotations

from triptych.config.schema import BoardConfig
from triptych.data.preparation import prepare_once
from triptych.orchestration import describe_flow_run, reporting, step
from triptych.orchestration.remote import PanelOrder, open_order
from triptych.panels.identity import identify_comparison
from triptych.tracking.records import ComparisonRecord
from triptych.tracking.registry.weights import pin_weights
from triptych.tracking.runs import start_comparison


@step("split {config.name}")
def split_data(config: BoardConfig, *, tuned: bool = False, fresh: bool = False) -> ComparisonRecord:
    """Prepare the data and the split that every panel of a board uses; start or continue its comparison.

    Args:
        config: the board.
        tuned: train each panel with the best setting of its study.
        fresh: start a new comparison and train every panel again, even if nothing has changed.
    """
    with reporting(f"split {config.name}", passing=True) as report:
        prepared = prepare_once(pin_weights(config), on_image=report)
        report(1, 1, prepared.split_id)
        if tuned:
            from triptych.tuning.results import use_tuned

            prepared = use_tuned(prepared)
        return start_comparison(prepared, describe_flow_run(), identify_comparison(prepared), fresh=fresh)


@step("open {order.board.name} for {order.panel}")
def open_ordered(order: PanelOrder) -> ComparisonRecord:
    """Prepare the board of a comparison that another machine started, from the same data."""
    return open_order(order)

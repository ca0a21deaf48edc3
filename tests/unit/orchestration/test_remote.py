from __future__ import annotations

import pytest

from triptych.config.resolve import resolve_config
from triptych.data.boards import PreparedBoard, prepare_board
from triptych.errors import DataError
from triptych.orchestration.remote import PanelOrder, open_order, write_order
from triptych.tracking.records import ComparisonRecord

PANEL = "shufflenet_v2_x0_5"


@pytest.fixture(scope="module")
def prepared() -> PreparedBoard:
    return prepare_board(resolve_config("digits", settings=["pools.transfer=gpu"]).boards[0])


def test_an_order_survives_the_way_to_another_machine(prepared: PreparedBoard) -> None:
    comparison = ComparisonRecord("id", "1", "run", prepared, fresh_since=5.0)
    order = PanelOrder.model_validate_json(write_order(comparison, PANEL).model_dump_json())
    there = open_order(order)
    assert (there.comparison, there.run_id, there.fresh_since) == ("id", "run", 5.0)
    assert there.prepared == prepared
    assert {job.panel for job in there.jobs} == {PANEL}


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("data_digest", "is not the data of the comparison"),
        ("split_id", "is not the data of the comparison"),
        ("test_set_id", "have other pixels on this machine .*: install the same version of Pillow on both"),
    ],
)
def test_a_machine_with_other_data_refuses_an_order(field: str, message: str, prepared: PreparedBoard) -> None:
    order = write_order(ComparisonRecord("id", "1", "run", prepared), PANEL)
    with pytest.raises(DataError, match=message):
        open_order(order.model_copy(update={field: "another"}))

from __future__ import annotations

from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from triptych.orchestration import progress

FLOW_RUN = "5a3f7a0e-9d0b-4a52-9df1-6a0c8e5d1c11"


@pytest.mark.parametrize(
    ("page", "tags"),
    [
        ("http://127.0.0.1:4200", {"prefect.flow_run_url": f"http://127.0.0.1:4200/runs/flow-run/{FLOW_RUN}"}),
        (None, {}),
    ],
)
def test_only_a_page_that_there_is_is_linked(page: str | None, tags: dict[str, str], monkeypatch: Any) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", FLOW_RUN)
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__NAME", "night")
    with temporary_settings({PREFECT_API_URL: None, PREFECT_UI_URL: page}):
        described = progress.describe_flow_run()
    assert described == {"prefect.flow_run_id": FLOW_RUN, "prefect.flow_run_name": "night", **tags}

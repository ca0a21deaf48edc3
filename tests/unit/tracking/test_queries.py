from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from helpers.comparisons import Recorded
from helpers.damages import DAMAGES
from triptych.errors import ConfigError
from triptych.tracking.client import connect
from triptych.tracking.leases import own_leases
from triptych.tracking.queries import fetch_report, find_panel_runs, find_recorded
from triptych.tracking.runs import start_comparison


def test_a_comparison_is_found_with_its_panels(recorded: Recorded) -> None:
    comparison = recorded.comparison
    [found] = find_recorded()
    assert (found.role, found.name, found.board, found.status) == (
        "comparison",
        comparison.comparison,
        "digits",
        "FINISHED",
    )
    assert found.verdict.startswith("numpy-mlp reaches")
    assert found.address == recorded.link
    assert [panel.run_id for panel in found.panels] == [recorded.panel.run_id]
    [run] = find_panel_runs(comparison.experiment_id, comparison.comparison)
    assert run.info.run_id == recorded.panel.run_id


def test_only_what_was_active_since_then_is_listed(recorded: Recorded) -> None:
    now = datetime.now(UTC)
    assert [found.name for found in find_recorded(now - timedelta(days=1))] == [recorded.comparison.comparison]
    assert find_recorded(now + timedelta(days=1)) == []


def test_the_report_of_a_comparison_is_fetched(recorded: Recorded) -> None:
    page = fetch_report().read_text(encoding="utf-8")
    assert recorded.comparison.comparison in page
    assert fetch_report(recorded.comparison.run_id).read_text(encoding="utf-8") == page
    with pytest.raises(ConfigError, match="no comparison 'another'"):
        fetch_report("another")


def test_a_damaged_result_is_named_in_place_of_the_verdict(recorded: Recorded) -> None:
    file = Path(urlsplit(str(connect().get_run(recorded.comparison.run_id).info.artifact_uri)).path) / "comparison.json"
    content = file.read_bytes()
    try:
        for damage in ("cut", "empty"):
            DAMAGES[damage](file)
            [found] = find_recorded()
            assert found.verdict.startswith(f"runs:/{recorded.comparison.run_id}/comparison.json is damaged")
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_copy_of_a_report_is_replaced(damage: str, recorded: Recorded) -> None:
    del recorded
    page = fetch_report().read_text(encoding="utf-8")
    DAMAGES[damage](fetch_report())
    assert fetch_report().read_text(encoding="utf-8") == page


def test_a_comparison_that_was_not_finished_has_no_report(recorded: Recorded) -> None:
    open_one = start_comparison(recorded.comparison.prepared, {}, "another identity", fresh=True)
    with pytest.raises(ConfigError, match=r"has no report, and its status is RUNNING: run `triptych compare` again"):
        fetch_report(open_one.comparison)
    own_leases.release(open_one.run_id)


@pytest.mark.usefixtures("own_store")
def test_an_empty_store_has_no_comparison() -> None:
    assert find_recorded() == []
    with pytest.raises(ConfigError, match="no comparison yet: run `triptych compare`"):
        fetch_report()

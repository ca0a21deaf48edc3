from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from tasks.split_data import split_data
from triptych.commands.preflight import check_inputs
from triptych.config.resolve import resolve_config
from triptych.data.datasets import Dataset, fetch_dataset
from triptych.data.preparation import boards_prepared_once
from triptych.tracking.leases import own_leases
from triptych.tracking.records import ComparisonRecord


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The data sets that are loaded during a test."""
    sources: list[str] = []

    def load_and_note(source: str, **options: Any) -> Dataset:
        sources.append(source)
        return fetch_dataset(source, **options)

    monkeypatch.setattr("triptych.data.boards.fetch_dataset", load_and_note)
    return sources


@pytest.mark.usefixtures("prefect_server")
def test_a_flow_finds_the_boards_that_its_command_has_checked(photos: Path, loaded: list[str]) -> None:
    config = resolve_config("photos", data=str(photos), panels=["numpy-mlp"])

    @flow
    def open_comparison() -> ComparisonRecord:
        return split_data(config.boards[0])

    with boards_prepared_once():
        [checked] = check_inputs(config)
        comparison = open_comparison()
    own_leases.release(comparison.run_id)
    assert comparison.prepared is checked
    assert len(loaded) == 1

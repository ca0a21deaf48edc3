from __future__ import annotations

from dataclasses import replace

import pytest

from triptych.errors import DataError
from triptych.evaluation.report import ComparisonResult, MissingPanel, Report
from triptych.orchestration import describe_comparison, end_flow
from triptych.orchestration.results import FATES, require_all
from triptych.tracking.registry.champions import TEXTS


def test_of_parts_that_all_fail_the_first_error_is_raised_as_it_is() -> None:
    errors = {"one": DataError("first"), "two": DataError("second")}
    with pytest.raises(DataError, match=r"^first$"):
        require_all(errors)
    assert require_all({"one": 1, "two": 2}) == [1, 2]


def test_the_state_of_a_flow_says_verdict_champion_and_what_is_missing() -> None:
    report = Report("digits", 540, (), (), "numpy-mlp wins.", (), (MissingPanel("vgg16 #0", "no weights"),))
    result = ComparisonResult("id", "link", report, "version 1 remains the champion", state="refused")
    whole = ComparisonResult("id", "link", replace(report, board="mnist", missing=()), "numpy-mlp is it", state="new")
    state = end_flow({"mnist": whole}, describe_comparison)
    assert (state.name, state.data) == ("Completed", [whole])
    assert state.message == "mnist: numpy-mlp wins.\nmnist: new champion: numpy-mlp is it"
    outcomes: dict[str, ComparisonResult | Exception] = {"digits": result, "photos": DataError("no such folder")}
    state = end_flow(outcomes, describe_comparison)
    assert (state.name, state.data.results) == ("Failed", [result])
    assert state.message == (
        "digits: numpy-mlp wins.\n"
        "digits: challenger refused: version 1 remains the champion\n"
        "all done except photos (no such folder); vgg16 #0 (no weights)"
    )
    assert FATES.keys() == {*TEXTS, ""}

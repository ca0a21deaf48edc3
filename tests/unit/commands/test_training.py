from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import typer

from triptych.commands import training
from triptych.errors import IncompleteError
from triptych.evaluation.report import ComparisonResult, Report


def fail(error: BaseException) -> Callable[[], Sequence[Any]]:
    def run() -> Sequence[Any]:
        raise error

    return run


@pytest.mark.parametrize(("bad_input", "code"), [(True, 2), (False, 1)])
def test_results_are_printed_even_if_some_are_missing(
    bad_input: bool,  # noqa: FBT001
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    printed: list[object] = []
    error = IncompleteError("all done except resnet50 #0 (its weights are missing)", ["a result"], bad_input=bad_input)
    with pytest.raises(typer.Exit) as ended:
        training._print_results(fail(error), printed.append)
    assert ended.value.exit_code == code
    assert printed == ["a result"]
    assert "triptych: all done except resnet50 #0 (its weights are missing)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "has_champion", "commands"),
    [
        ({"state": "new", "models": ("digits-numpy-mlp/1",)}, True, ["report --open", "predict digits IMAGE"]),
        ({"state": "refused"}, False, ["report --open"]),
        ({"state": "waiting", "awaiting": "digits/3"}, False, ["report --open", "promote digits/3"]),
        ({}, False, ["report --open"]),
    ],
)
def test_the_next_useful_commands_depend_on_the_result(
    fields: dict[str, Any], commands: list[str], *, has_champion: bool
) -> None:
    report = Report("digits", 540, (), (), "", ())
    result = ComparisonResult("20260101-030000-abc123", "http://link", report, **fields)
    suggested = training.suggest_next(result, has_champion=has_champion)
    assert suggested == [f"triptych {command}" for command in commands]


def test_an_interrupt_is_one_line_and_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        training._print_results(fail(KeyboardInterrupt()), pytest.fail)
    assert ended.value.exit_code == 130
    assert "triptych: interrupted" in capsys.readouterr().err

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import typer

from triptych.commands import training
from triptych.errors import IncompleteError


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


def test_an_interrupt_is_one_line_and_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        training._print_results(fail(KeyboardInterrupt()), pytest.fail)
    assert ended.value.exit_code == 130
    assert "triptych: interrupted" in capsys.readouterr().err

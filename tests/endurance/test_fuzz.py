"""Data as nobody would lay them out on purpose: an answer in words, never a traceback, and little memory.

`make fuzz` does it for ten minutes, or as long as FUZZ_SECONDS says.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings

from helpers.commands import run
from helpers.fuzzing import INPUTS
from helpers.peak import read_memory, reset_peak
from triptych.config.resolve import resolve_config
from triptych.data.boards import prepare_board
from triptych.errors import InputError

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read and reset in /proc"),
]
SECONDS = float(os.environ.get("FUZZ_SECONDS", "20")) / len(INPUTS)
EXAMPLES = 25
# Beyond what the libraries and earlier tests of the process take.
MOST_MEMORY = 1 << 30


def check_answer(source: str) -> None:
    """Check what `check` answers, and that it refuses what `compare` would refuse."""
    done = run("check", source)
    assert done.returncode in {0, 2}, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "(unexpected" not in done.stderr
    if done.returncode == 2 and done.stderr:
        assert done.stderr.count("\n") == 1, done.stderr
    assert (done.returncode == 0) is can_prepare(source), done.stdout + done.stderr


def can_prepare(source: str) -> bool:
    """Return whether a comparison would start with these data."""
    try:
        prepare_board(resolve_config("photos", data=source, panels=["numpy-mlp"]).boards[0])
    except InputError:
        return False
    return True


@pytest.mark.parametrize("kind", INPUTS)
def test_whatever_the_data_are_the_answer_is_in_words(kind: str) -> None:
    before, started, number = reset_peak(), time.monotonic(), 0
    while time.monotonic() - started < SECONDS:
        number += 1

        @seed(number)
        @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
        @given(INPUTS[kind])
        def answer(make: Callable[[Path], str]) -> None:
            with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
                patch.setenv("TRIPTYCH_CACHE_HOME", str(Path(folder) / "cache"))
                place = Path(folder) / "data"
                place.mkdir()
                check_answer(make(place))

        answer()
    assert read_memory("VmHWM") - before < MOST_MEMORY

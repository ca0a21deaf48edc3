from __future__ import annotations

import resource
import sys
from types import SimpleNamespace

import psutil
import pytest

from triptych.system.peak_memory import peak_memory_mebibytes


@pytest.mark.parametrize(("platform", "mebibytes"), [("linux", 3072.0), ("darwin", 3.0)])
def test_each_system_counts_in_its_own_unit(platform: str, mebibytes: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3 * 2**20))
    assert peak_memory_mebibytes() == mebibytes


def test_the_peak_lies_between_what_is_in_use_and_what_the_machine_has() -> None:
    in_use = psutil.Process().memory_info().rss / 2**20
    assert 0.9 * in_use < peak_memory_mebibytes() < psutil.virtual_memory().total / 2**20

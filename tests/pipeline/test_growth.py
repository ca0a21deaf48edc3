"""A folder that grows: no photo changes its part, and the champion is judged on photos that it has not learnt from."""

from __future__ import annotations

from pathlib import Path

import growth
import pytest


@pytest.mark.usefixtures("own_store")
def test_nights_on_a_folder_that_grows_are_all_decided_with_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cheaper version of `make simulate`."""
    monkeypatch.setattr(growth, "NEW_CLASS_NIGHT", 1)
    (tmp_path / "photos").mkdir()
    lived = growth.live_through(tmp_path / "photos", nights=3)
    assert (lived.decided, lived.moved, lived.learnt) == (3, 0, 0)
    assert lived.champions

from __future__ import annotations

import pytest

from triptych.system.slices import iterate_slices


@pytest.mark.parametrize(("length", "size"), [(0, 3), (1, 3), (6, 3), (7, 3), (7, 100)])
def test_every_row_is_in_one_slice(length: int, size: int) -> None:
    slices = list(iterate_slices(length, size))
    assert [row for part in slices for row in range(length)[part]] == list(range(length))
    assert all(0 < part.stop - part.start <= size for part in slices)

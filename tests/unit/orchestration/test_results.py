from __future__ import annotations

import pytest

from triptych.errors import DataError
from triptych.orchestration import require_all


def test_of_parts_that_all_fail_the_first_error_is_raised_as_it_is() -> None:
    errors = {"one": DataError("first"), "two": DataError("second")}
    with pytest.raises(DataError, match=r"^first$"):
        require_all(errors)
    assert require_all({"one": 1, "two": 2}) == [1, 2]

from __future__ import annotations

from typing import Any

import pytest

from triptych.config.numbers import read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("-3", -3),
        ("1_000", 1000),
        ("1e-3", 0.001),
        ("1.", 1.0),
        (".5", 0.5),
        ("1.0e+05", 100_000.0),
        ("-.inf", float("-inf")),
        ("010", "010"),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("10^30", "10^30"),
        ("true", True),
        ("[10, .5]", [10, 0.5]),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, value: Any) -> None:
    found = read_yaml(text)
    assert (found, type(found)) == (value, type(value))

"""Every family of networks, also those whose weights take seconds to draw."""

from __future__ import annotations

import pytest

from helpers.backbones import FAMILIES, check_trunk

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(600)]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_trunk_gives_what_enters_the_last_layer(name: str) -> None:
    check_trunk(name)

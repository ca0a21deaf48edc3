from __future__ import annotations

import pytest

from helpers.comparisons import Recorded
from triptych.errors import ConfigError
from triptych.tracking.registry.champions import challenge, promote, register_panel, rollback
from triptych.tracking.registry.versions import find_champion, find_version


def test_what_is_not_registered_is_named(recorded: Recorded) -> None:
    register_panel(recorded.comparison.prepared, recorded.panel)
    for reference in ("digits-numpy-mlp/2", "digits-numpy-mlp@champion", "nothing"):
        with pytest.raises(ConfigError, match="digits-numpy-mlp"):
            find_version(reference)
    with pytest.raises(
        ConfigError, match="no version with number '7': it has version 1; name one as digits-numpy-mlp/1"
    ):
        promote("digits-numpy-mlp", "7")
    with pytest.raises(ConfigError, match="no version with alias 'champion': it has version 1"):
        rollback("digits-numpy-mlp")
    assert find_champion("nothing") is None


def test_a_version_is_a_number_however_it_is_written(recorded: Recorded) -> None:
    challenge(recorded.comparison.prepared, recorded.panel)
    assert promote("digits", "01") == "1"
    assert find_version("digits/001").version == find_version("digits").version
    with pytest.raises(ConfigError, match="is its first champion"):
        rollback("digits")
    for number in ("", "-1", "1.0", "\uff11", "1/2"):
        with pytest.raises(ConfigError, match="has no version with number"):
            promote("digits", number)

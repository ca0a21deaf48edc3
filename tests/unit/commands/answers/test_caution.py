from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from helpers.commands import run
from triptych.commands.answers.caution import read_rate, take_caution
from triptych.errors import ConfigError


@pytest.mark.parametrize("text", ["2", "-1%", "100%", "few", "nan", ""])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"give a rate such as 2% or 0\.02"):
        read_rate(text)


def test_a_rate_is_checked_before_the_model_is_looked_up() -> None:
    done = run("predict", "digits", "src", "--error-at-most", "200%")
    assert done.returncode == 2
    assert "--error-at-most '200%' is not above 0 and below 100 %" in done.stderr


@pytest.mark.parametrize("name", ["foreign", "not sure"])
def test_a_class_that_is_called_like_a_refusal_is_refused(name: str) -> None:
    version: Any = SimpleNamespace(name="animals")
    loaded: Any = SimpleNamespace(classes=("ant", name))
    with pytest.raises(ConfigError, match=f"refuses with '{name}', which is a class of animals"):
        take_caution(version, loaded, 0.02)

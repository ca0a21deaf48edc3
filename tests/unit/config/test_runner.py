"""What `--runner` may name."""

from __future__ import annotations

import pytest

from triptych.config.runner import check_runner
from triptych.errors import ConfigError


@pytest.mark.parametrize(
    ("runner", "rule"),
    [
        ("ray", "use threads, dask or dask:tcp://HOST:PORT"),
        ("dask:127.0.0.1", "use threads, dask or dask:tcp://HOST:PORT"),
        ("dask:tcp://127.0.0.1:1", "no Dask scheduler answers there"),
        ("dask:tcp://127.0.0.1:0", "0 is not between 1 and 65535"),
        ("dask:tcp://127.0.0.1:65537", "65537 is not between 1 and 65535"),
    ],
)
def test_a_runner_that_is_none_is_refused(runner: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule) as refused:
        check_runner(runner)
    assert repr(runner) in str(refused.value)

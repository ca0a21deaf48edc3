"""What endurance tests share, once in each process of pytest-xdist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.forks import Forks, PrefectServer


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A Prefect server that may be killed, and started again."""
    server = PrefectServer(tmp_path_factory.mktemp("prefect"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def forks(prefect: PrefectServer, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """A process that has imported everything, which takes seconds: it forks for each flow."""
    started = Forks(tmp_path_factory.mktemp("forks"), prefect, empty_store)
    yield started
    started.stop()

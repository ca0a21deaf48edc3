from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

import pytest

from triptych.errors import ConfigError
from triptych.tracking.client import connect
from triptych.tracking.registry.champions import promote
from triptych.tracking.registry.following import Followed, require_answer
from triptych.tracking.registry.versions import open_registry

NAME = "digits"


class Loading:
    """Loads the number of a version, unless it is a broken one."""

    broken = ""

    def __call__(self, version: object) -> str:
        number = str(version.version)  # type: ignore[attr-defined]
        if number == self.broken:
            raise ConfigError("its files are gone")
        return number


@pytest.fixture
def versions(own_store: str, tmp_path: Path) -> None:
    """Three versions, of which the first is the champion."""
    assert own_store
    connect().create_registered_model(NAME)
    for _ in range(3):
        connect().create_model_version(NAME, str(tmp_path))
    promote(NAME, "1")


@pytest.mark.usefixtures("versions")
def test_a_moved_alias_is_followed_and_a_broken_version_is_not() -> None:
    load, lines = Loading(), list[str]()
    model = Followed(NAME, load, lines.append)
    assert model.current == "1"
    promote(NAME, "2")
    model.check()
    assert model.current == "2"
    load.broken = "3"
    promote(NAME, "3")
    model.check()
    model.check()
    assert (model.current, model.problem) == ("2", "its files are gone")
    load.broken = ""
    model.check()
    assert (model.current, model.problem) == ("3", "")
    open_registry().delete_registered_model_alias(NAME, "champion")
    model.check()
    assert model.current == "3"
    assert [line.split(":")[0] for line in lines] == [
        f"{NAME}/2 answers from now on",
        "the loaded version keeps answering",
        f"{NAME}/3 answers from now on",
        "the registry is back",
        "the loaded version keeps answering",
    ]


class Waits(Event):
    """Keeps how long it was waited for, and is set in the end."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times, self.waits = times, list[float | None]()

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return len(self.waits) > self.times


@pytest.mark.usefixtures("versions")
def test_a_broken_version_is_tried_at_longer_and_longer_intervals() -> None:
    load, end = Loading(), Waits(8)
    model = Followed(NAME, load, lambda _: None)
    load.broken = "2"
    promote(NAME, "2")
    model.follow(3.0, end)
    assert end.waits == [3.0, 6.0, 12.0, 24.0, 48.0, 60.0, 60.0, 60.0, 60.0]
    load.broken, end = "", Waits(2)
    model.follow(3.0, end)
    assert (model.current, end.waits) == ("2", [3.0, 3.0, 3.0])


@pytest.mark.usefixtures("versions")
def test_a_store_that_is_away_is_waited_for_and_not_created_anew(tmp_path: Path) -> None:
    model = Followed(f"{NAME}@champion", Loading(), lambda _: None)
    store = tmp_path / "mlflow.db"
    store.rename(tmp_path / "away.db")
    model.check()
    assert model.current == "1"
    assert "is gone: restore it" in model.problem
    assert not store.exists()
    (tmp_path / "away.db").rename(store)
    promote(NAME, "2")
    end = Event()
    follower = Thread(target=model.follow, args=(0.01, end))
    follower.start()
    while model.current == "1":
        assert follower.is_alive()
    end.set()
    follower.join()
    assert (model.current, model.problem) == ("2", "")


def test_a_server_that_is_down_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlflow.get_registry_uri", lambda: "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9 does not answer \(.*refused\): start it"):
        require_answer()

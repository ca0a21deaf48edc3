from __future__ import annotations

import os
import signal

import pytest

from triptych.commands import temporary_server


@pytest.mark.parametrize(
    ("url", "enabled", "wanted"),
    [(None, True, True), (None, False, False), ("http://127.0.0.1:4200/api", True, False)],
)
def test_a_server_is_only_started_where_prefect_would(url: str | None, enabled: bool, wanted: bool) -> None:  # noqa: FBT001
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
        get_current_settings,
        temporary_settings,
    )

    with temporary_settings({PREFECT_API_URL: url, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: enabled}):
        assert temporary_server.wants_temporary_server(get_current_settings()) is wanted


def test_the_server_ends_once_its_parent_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = iter([7, 7, 1])
    signals: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    monkeypatch.setattr(os, "kill", lambda *signal: signals.append(signal))
    monkeypatch.setattr(temporary_server, "SECONDS_BETWEEN_CHECKS", 0.0)
    temporary_server._exit_with(7)
    assert signals == [(os.getpid(), signal.SIGTERM)]

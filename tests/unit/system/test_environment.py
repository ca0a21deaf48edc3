from __future__ import annotations

import os
import urllib.request

import pytest

from triptych.system.environment import (
    DEFAULTS,
    INHERITED,
    PROXIES,
    QUIET_TERMINAL,
    apply_environment,
    separate_credentials,
)


@pytest.fixture(autouse=True)
def _restored_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    proxies = (*PROXIES, "no_proxy")
    for name in (*DEFAULTS, *QUIET_TERMINAL, *INHERITED, *proxies, *map(str.upper, proxies)):
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)


def test_the_users_own_values_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "svg")
    apply_environment(quiet=False)
    assert os.environ["MPLBACKEND"] == "svg"
    assert os.environ["DO_NOT_TRACK"] == "true"
    assert not QUIET_TERMINAL.keys() & os.environ.keys()
    apply_environment(quiet=True)
    assert os.environ["MLFLOW_LOGGING_LEVEL"] == "CRITICAL"


@pytest.mark.parametrize("name", INHERITED)
def test_what_another_program_left_for_mlflow_is_ignored(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "of another program")
    apply_environment(quiet=False)
    assert name not in os.environ


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"http_proxy": "http://proxy"}, "127.0.0.1,localhost,::1"),
        ({"HTTPS_PROXY": "http://proxy", "NO_PROXY": "intern, localhost"}, "intern,localhost,127.0.0.1,::1"),
        ({"ALL_PROXY": "http://proxy", "no_proxy": "*"}, "*"),
    ],
    ids=["no proxy", "proxy alone", "exceptions", "all excepted"],
)
def test_this_machine_is_reached_without_a_proxy(
    given: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        apply_environment(quiet=False)
        assert urllib.request.getproxies_environment().get("no") == expected


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (
            {"MLFLOW_TRACKING_URI": "https://ann:p%40ss:word@mlflow.example.org:8080/team"},
            {
                "MLFLOW_TRACKING_URI": "https://mlflow.example.org:8080/team",
                "MLFLOW_TRACKING_USERNAME": "ann",
                "MLFLOW_TRACKING_PASSWORD": "p@ss:word",
            },
        ),
        (
            {"MLFLOW_TRACKING_URI": "http://ann:old@host", "MLFLOW_TRACKING_USERNAME": "bea"},
            {"MLFLOW_TRACKING_URI": "http://host", "MLFLOW_TRACKING_USERNAME": "bea"},
        ),
        (
            {"PREFECT_API_URL": "http://team:secret@127.0.0.1:4200/api"},
            {"PREFECT_API_URL": "http://127.0.0.1:4200/api", "PREFECT_API_AUTH_STRING": "team:secret"},
        ),
        ({"MLFLOW_TRACKING_URI": "http://host/@"}, {"MLFLOW_TRACKING_URI": "http://host/@"}),
        # A database has no other place for them.
        ({"MLFLOW_TRACKING_URI": "postgresql://ann:secret@host/mlflow"},) * 2,
    ],
)
def test_a_password_moves_from_an_address_to_its_own_variable(
    given: dict[str, str], left: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", given)
    separate_credentials()
    assert given == left

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from triptych.commands.prefect_server import check_database, check_proxies, check_server
from triptych.errors import ConfigError


def test_a_database_that_cannot_be_used_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "prefect.db"
    check_database(file)
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE other (name)")
    check_database(file)
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE alembic_version (version_num)")
        database.execute("INSERT INTO alembic_version VALUES ('9725c1cbee35')")
    check_database(file)
    with sqlite3.connect(file) as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(ConfigError, match=r"prefect\.db cannot be used \(another version of Prefect wrote it\)"):
        check_database(file)
    file.write_bytes(b"no database, but a file of some length" * 100)
    with pytest.raises(ConfigError, match=r"\(file is not a database\): move it away, or set PREFECT_HOME"):
        check_database(file)


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALL_PROXY", "socks5://127.0.0.1:9"), ("HTTP_PROXY", "gopher://127.0.0.1:9")],
)
def test_a_proxy_that_cannot_be_used_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used"):
        check_proxies()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PREFECT_API_URL", "http://127.0.0.1:1/api", "no Prefect server answers at"),
        ("PREFECT_SERVER_EPHEMERAL_ENABLED", "false", "Prefect has no server: set PREFECT_API_URL"),
    ],
)
def test_settings_without_a_server_are_refused(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.context import use_profile

    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message), use_profile("ephemeral", include_current_context=False):
        check_server()


def test_settings_that_prefect_cannot_read_are_named(tmp_path: Path) -> None:
    folder, home = tmp_path / "folder", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    (folder / "prefect.toml").write_text("x = [")
    (home / "profiles.toml").write_text('active = "x')
    code = "from triptych.cli import main; from triptych.commands import inspect, prefect_server as server;"
    command = [
        sys.executable,
        "-c",
        f"{code} inspect.apply_environment = lambda **_: server.check_server(); main()",
        "presets",
    ]
    cases = [
        ({"PREFECT_LOGGING_LEVEL": "LOUD"}, tmp_path, r"level = 'LOUD': .*INFO"),
        ({"PREFECT_HOME": str(home)}, tmp_path, "TOMLDecodeError"),
        ({}, folder, r"prefect\.toml: invalid TOML"),
    ]
    started = [
        subprocess.Popen(command, env=os.environ | own, cwd=place, stderr=subprocess.PIPE, text=True)
        for own, place, _ in cases
    ]
    for process, (_, _, message) in zip(started, cases, strict=True):
        printed = process.communicate()[1]
        assert process.returncode == 2
        assert re.match(rf"triptych: Prefect cannot read its settings \(.*{message}.*\n$", printed)

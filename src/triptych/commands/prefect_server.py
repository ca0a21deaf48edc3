"""Checks of Prefect's settings, and of the server and the database that they name, before a flow needs them."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from triptych.errors import ConfigError, describe_error
from triptych.system.addresses import SOURCE, check_prefect, is_refused

if TYPE_CHECKING:
    from prefect.settings import Settings

DATABASE = "prefect.db"
# Its migrations, whose file names contain their revisions.
MIGRATIONS = "server/database/_migrations/versions/sqlite"


def check_server() -> None:
    """Check that Prefect can read its settings, and that there is a server or can be one.

    Raises:
        ConfigError: a file or variable is not valid, no server answers or can be started, or it refuses the password.
    """
    settings = read_settings()
    check_proxies()
    if settings.api.url:
        check_prefect(settings.api.url)
        check_password(settings)
    elif settings.server.ephemeral.enabled:
        check_database(settings.home / DATABASE)
    else:
        raise ConfigError("Prefect has no server: set PREFECT_API_URL to one, or PREFECT_SERVER_EPHEMERAL_ENABLED=true")


def check_password(settings: Settings) -> None:
    """Check that Prefect's server accepts the password.

    Raises:
        ConfigError: it does not.
    """
    password = settings.api.auth_string.get_secret_value() if settings.api.auth_string else ""
    if not settings.api.key and is_refused(f"{str(settings.api.url).rstrip('/')}/admin/version", password):
        raise ConfigError(
            f"the server at PREFECT_API_URL={settings.api.url} wants another password: set PREFECT_API_AUTH_STRING to "
            f"USER:PASSWORD, for that of `make serve` with {SOURCE}"
        )


def read_settings() -> Settings:
    """Return Prefect's settings.

    Raises:
        ConfigError: a file or variable is not valid.
    """
    try:
        # Prefect prints errors of its settings as well.
        with redirect_stderr(io.StringIO()):
            from prefect.settings import get_current_settings

            return get_current_settings()
    except (ValueError, OSError) as error:  # what pydantic and TOML raise is a ValueError, too
        raise ConfigError(
            f"Prefect cannot read its settings ({_describe(error)}): correct prefect.toml or pyproject.toml in this "
            "folder, profiles.toml in PREFECT_HOME, or the variable PREFECT_..."
        ) from error


def _describe(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return describe_error(error)
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))} = {first['input']!r}: {first['msg']}"


def check_proxies() -> None:
    """Check that Prefect's client can use the proxies of the environment.

    Raises:
        ConfigError: the address of a proxy is none, or of a kind that needs another package.
    """
    import httpx

    try:
        httpx.Client().close()
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used ({describe_error(error)}): correct or unset it"
        ) from error


def check_database(file: Path) -> None:
    """Check that the temporary server can open its database, for which Prefect would wait two minutes.

    Raises:
        ConfigError: the file is damaged, or another version of Prefect wrote it.
    """
    if not file.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
            revisions = {revision for (revision,) in database.execute("SELECT version_num FROM alembic_version")}
    except sqlite3.Error as error:
        # A server that was interrupted before it created this table creates it now.
        known = "no such table" in str(error) or "locked" in str(error)
        reason = str(error)
    else:
        known, reason = revisions <= _list_revisions(), "another version of Prefect wrote it"
    if not known:
        raise ConfigError(
            f"Prefect's database {file} cannot be used ({reason}): move it away, or set PREFECT_HOME to a new folder"
        )


def _list_revisions() -> set[str]:
    import prefect

    names = [file.stem.split("_") for file in Path(prefect.__path__[0], MIGRATIONS).glob("20*.py")]
    return {name[4] for name in names}

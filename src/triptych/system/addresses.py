"""Addresses of servers and stores: checked within seconds, before anything waits for them or imports their clients."""

from __future__ import annotations

import base64
import os
import ssl
import urllib.request
from functools import cache
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit

from triptych.errors import ConfigError, describe_error, hide_passwords
from triptych.system.environment import separate_credentials
from triptych.system.paths import local_store

ANSWER_SECONDS = 5.0
# A server that drops a connection now and then answers on the next one.
ATTEMPTS = 3
UNAUTHORIZED, NOT_FOUND = 401, 404
WEB = ("http", "https")
DATABASES = ("postgresql", "mysql", "mssql")
# The setting with which a driver gives up on a server that accepts a connection and says nothing.
TIMEOUTS = {"postgresql": "connect_timeout", "mysql": "connect_timeout", "mssql": "timeout"}
# Where MLflow looks for a user and a password that are not in the environment.
CREDENTIALS = Path("~/.mlflow/credentials").expanduser()
SOURCE = "`source mlflow/serve/env`"
STORE_EXAMPLES = "sqlite:////FOLDER/mlflow.db, http://HOST:5000 or postgresql://USER@HOST/NAME"


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, without a user and a password, or the address of the local store."""
    separate_credentials()
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri()


def local_uri() -> str:
    """Return the address of the local store, an SQLite file."""
    return f"sqlite:///{local_store() / 'mlflow.db'}"


def ask(address: str) -> None:
    """Send a request to an HTTP address; any answer is good but that there is no such page.

    Raises:
        OSError: nothing answers, or another program.
        ValueError: it is not an HTTP address.
    """
    parts = urlsplit(address)
    if parts.scheme not in WEB:
        raise ValueError("it does not begin with http:// or https://")
    # Without a name and a password, with which urllib cannot connect.
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            _ask_once(address)
            break
        except HTTPException as error:
            if not attempts_left:
                raise ConnectionError(f"the answer is not HTTP: {type(error).__name__}") from error


def _ask_once(address: str) -> None:
    try:
        urllib.request.urlopen(address, timeout=ANSWER_SECONDS).close()  # noqa: S310 - the scheme is checked
    except HTTPError as error:
        if error.code == NOT_FOUND:
            raise ConnectionError(f"there is no {address}, so another program answers") from error
    except URLError as error:
        # Clients have certificates of their own.
        if isinstance(error.reason, OSError) and not isinstance(error.reason, ssl.SSLError):
            raise error.reason from error
        if isinstance(error.reason, str):
            raise


def is_refused(address: str, credentials: str) -> bool:
    """Return whether a server that answers wants another user and password; any other error is for its client.

    Args:
        address: a page that only users see.
        credentials: `user:password`; empty: none.
    """
    request = urllib.request.Request(address)  # noqa: S310 - an address that `ask` has checked
    if credentials:
        request.add_header("Authorization", f"Basic {base64.b64encode(credentials.encode()).decode()}")
    try:
        urllib.request.urlopen(request, timeout=ANSWER_SECONDS).close()  # noqa: S310 - as above
    except HTTPError as error:
        return error.code == UNAUTHORIZED
    except (OSError, HTTPException):
        return False
    return False


@cache
def check_tracking(uri: str) -> None:
    """Check the form of a tracking address, and that its server or database answers.

    MLflow itself would retry for minutes.

    Raises:
        ConfigError: MLflow has no such kind of store, nothing answers there, or the server refuses the user.
    """
    name = f"MLFLOW_TRACKING_URI={hide_passwords(uri)}"
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme == "sqlite":
        sqlite_file(uri)
    elif scheme in DATABASES:
        open_database(uri)
    elif scheme in WEB:
        try:
            ask(f"{uri.rstrip('/')}/health")
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no tracking server answers at {name} ({error}): start it, or correct the address"
            ) from error
        user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD"))
        other = any(os.environ.get(f"MLFLOW_TRACKING_{way}") for way in ("TOKEN", "AUTH")) or CREDENTIALS.exists()
        page = f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1"
        if not other and is_refused(page, f"{user}:{password}" if user else ""):
            raise ConfigError(
                f"the tracking server at {name} wants another user or password: set MLFLOW_TRACKING_USERNAME and "
                f"MLFLOW_TRACKING_PASSWORD, for that of `make serve` with {SOURCE}"
            )
    elif scheme != "databricks":
        raise ConfigError(f"{name} is not the address of a store: use {STORE_EXAMPLES}")


def open_database(uri: str) -> None:
    """Open a database once, because MLflow tries ten times, for 100 seconds, before it says why it cannot.

    Raises:
        ConfigError: it cannot be opened, or its driver is not installed.
    """
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        timeout = TIMEOUTS.get(make_url(uri).get_backend_name())
        engine = create_engine(uri, connect_args={timeout: int(ANSWER_SECONDS)} if timeout else {})
        try:
            inspect(engine).get_table_names()
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise ConfigError(
            f"the database of MLFLOW_TRACKING_URI={hide_passwords(uri)} cannot be opened ({describe_error(error)}): "
            "start it, correct the address, or move a damaged file away"
        ) from error


def sqlite_file(uri: str) -> Path:
    """Return the file of an SQLite store.

    Raises:
        ConfigError: the address names no file, or one whose path SQLAlchemy or MLflow would read differently.

    >>> sqlite_file("sqlite:////home/ann/mlflow.db").as_posix()
    '/home/ann/mlflow.db'
    """
    name = uri.partition(":///")[2]
    if not name or name == ":memory:":
        raise ConfigError(f"MLFLOW_TRACKING_URI={uri} names no file: use sqlite:////FOLDER/mlflow.db")
    if "?" in name or unquote(name) != name:
        raise ConfigError(
            f"the store {name} cannot be used: the path of an SQLite store may contain neither '?' nor escapes such as "
            "'%20'; rename the folder, or set MLFLOW_TRACKING_URI to a file elsewhere"
        )
    return Path(name)


def check_prefect(url: str) -> None:
    """Check that Prefect's server answers.

    Prefect itself would retry for minutes.

    Raises:
        ConfigError: the address is none, or nothing answers there.
    """
    try:
        ask(f"{url.rstrip('/')}/health")
        if not urlsplit(url).path.strip("/"):
            raise ValueError("its path is missing, which is /api")  # noqa: TRY301 - of an address as well
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no Prefect server answers at PREFECT_API_URL={hide_passwords(url)} ({error}): start it, or unset "
            "PREFECT_API_URL, where `prefect config view` finds it; without it a temporary server is started"
        ) from error

"""Default environment variables for Prefect, MLflow and Matplotlib; the user's own values win."""

from __future__ import annotations

import logging
import os
import warnings
from urllib.parse import unquote, urlsplit

DEFAULTS = {
    # No telemetry. MLflow accepts only the word "true" here.
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # The temporary server migrates its database on its first start, which takes two busy cores more than 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # Warnings of this package, such as of a damaged file, belong to the log of the flow run, if there is one.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "triptych",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # A server started here logs errors only.
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    # Many trainings end before MLflow's default of ten seconds, and would have no system metrics.
    "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "5",
    # Models state their exact requirements; MLflow need not look for a uv project in the working directory.
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_LOG_UV_FILES": "false",
    # To find what a model reads, MLflow watches the environment of all threads, and fails if another one reads it, too.
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Figures are drawn without a window system.
    "MPLBACKEND": "Agg",
}

# The address of Prefect's temporary server, which has no pages, where a command has started one.
TEMPORARY_SERVER = "TRIPTYCH_TEMPORARY_SERVER"
# What another program left there for MLflow: runs, models and views would be put where that program works.
INHERITED = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_ACTIVE_MODEL_ID")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
# Prefect's temporary server, and servers that `make serve` and `make ui` start.
LOOPBACK = ("127.0.0.1", "localhost", "::1")

QUIET_TERMINAL = {
    # The command prints its own progress, results and errors; the full log is on Prefect's pages.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    # MLflow logs an error of its database with the SQL text, before it raises it.
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
}


def apply_environment(*, quiet: bool) -> None:
    """Set the variables above that the environment doesn't set; call this before importing Prefect or MLflow.

    Args:
        quiet: also keep the logs of Prefect and MLflow off the terminal.
    """
    separate_credentials()
    for name, value in (DEFAULTS | (QUIET_TERMINAL if quiet else {})).items():
        os.environ.setdefault(name, value)
    # What is wrong with an image is one line; Pillow's warnings, such as of damaged EXIF data, would be others.
    warnings.filterwarnings("ignore", module=r"PIL\..*")
    if quiet:
        # It names every font that a machine lacks.
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    # requests ignores this one itself, unless a library imported in another thread restores the filters meanwhile.
    warnings.filterwarnings("ignore", message="SOCKS support in urllib3 requires")
    for name in INHERITED:
        os.environ.pop(name, None)
    _bypass_proxy_for_loopback()


def _bypass_proxy_for_loopback() -> None:
    """Add this machine to the hosts that are reached without a proxy, where there is one.

    Without a proxy in the environment nothing is set: Python would then ignore the proxy of a system's settings.
    """
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in PROXIES):
        return
    for name, other in (("no_proxy", "NO_PROXY"), ("NO_PROXY", "no_proxy")):
        hosts = (os.environ.get(name) or os.environ.get(other) or "").split(",")
        if "*" not in hosts:
            os.environ[name] = ",".join(dict.fromkeys(filter(None, [*(host.strip() for host in hosts), *LOOPBACK])))


def separate_credentials() -> None:
    """Move the user and the password out of a server's address, to the variables that MLflow and Prefect have for them.

    From the address they would reach links, tags, pages, logs and errors. Variables that are set already win, as
    they do in MLflow.
    """
    tracking = _take_credentials("MLFLOW_TRACKING_URI")
    if tracking and "MLFLOW_TRACKING_USERNAME" not in os.environ:
        os.environ["MLFLOW_TRACKING_USERNAME"], _, os.environ["MLFLOW_TRACKING_PASSWORD"] = tracking
    if prefect := _take_credentials("PREFECT_API_URL"):
        os.environ.setdefault("PREFECT_API_AUTH_STRING", "".join(prefect))


def _take_credentials(variable: str) -> tuple[str, str, str] | None:
    """Remove the user and the password from an address; return user, colon and password, or None without a user."""
    address = os.environ.get(variable, "")
    credentials, at, host = urlsplit(address).netloc.rpartition("@") if address.startswith("http") else ("", "", "")
    if not at:
        return None
    os.environ[variable] = urlsplit(address)._replace(netloc=host).geturl()
    user, _, password = credentials.partition(":")
    return unquote(user), ":", unquote(password)

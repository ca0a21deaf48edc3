"""Default environment variables for Prefect, MLflow and Matplotlib; the user's own values win."""

from __future__ import annotations

import os
import warnings

DEFAULTS = {
    # No telemetry. MLflow accepts only the word "true" here.
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # The temporary server migrates its database on its first start, which takes two busy cores more than 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # A server started here logs errors only.
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    # Many trainings end before MLflow's default of ten seconds, and would have no system metrics.
    "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "5",
    # Models state their exact requirements; MLflow need not look for a uv project in the working directory.
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_LOG_UV_FILES": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Figures are drawn without a window system.
    "MPLBACKEND": "Agg",
}

QUIET_TERMINAL = {
    # The command prints its own progress, results and errors; the full log is on Prefect's pages.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


def apply_environment(*, quiet: bool) -> None:
    """Set the variables above that the environment doesn't set; call this before importing Prefect or MLflow.

    Args:
        quiet: also keep the logs of Prefect and MLflow off the terminal.
    """
    for name, value in (DEFAULTS | (QUIET_TERMINAL if quiet else {})).items():
        os.environ.setdefault(name, value)
    # An image above Pillow's limit is an error of one line; Pillow's warning would be a second line.
    warnings.filterwarnings("ignore", message="Image size .* could be decompression bomb")
    # requests ignores this one itself, unless a library imported in another thread restores the filters meanwhile.
    warnings.filterwarnings("ignore", message="SOCKS support in urllib3 requires")
    # With a run id inherited from another program, the first run opened here would continue that run.
    os.environ.pop("MLFLOW_RUN_ID", None)

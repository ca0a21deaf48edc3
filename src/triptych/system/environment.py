"""Settings of Prefect, MLflow and Pillow that this project wants unless the user's environment says otherwise."""

from __future__ import annotations

import os
import warnings

DEFAULTS = {
    # Nothing phones home. MLflow only knows the word "true" here.
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # The temporary server's first start migrates its database, which two busy cores don't do in 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # Whoever has no server of her own starts no scheduler either: fewer writers on one sqlite file.
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    # How busy the machine is while a panel is trained: many trainings are over in less than MLflow's ten seconds.
    "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "5",
    # Models carry exact requirements of their own; the folder they are logged from doesn't matter.
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_LOG_UV_FILES": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # No window system is needed to draw.
    "MPLBACKEND": "Agg",
}

QUIET_TERMINAL = {
    # The command prints its own progress, result and errors; Prefect's pages keep the whole log.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


def apply_environment(*, quiet: bool) -> None:
    """Set the defaults above where the environment is silent; call it before importing Prefect or MLflow.

    Args:
        quiet: also keep Prefect's log off the terminal.
    """
    for name, value in (DEFAULTS | (QUIET_TERMINAL if quiet else {})).items():
        os.environ.setdefault(name, value)
    # An image above Pillow's limit is refused in one line; Pillow's warning would be a second.
    warnings.filterwarnings("ignore", message="Image size .* could be decompression bomb")
    # A run id inherited from an outer program would take over the first run that is opened here.
    os.environ.pop("MLFLOW_RUN_ID", None)

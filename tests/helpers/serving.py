"""`make serve` in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from helpers.waiting import free_port

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def make_environment(folder: Path) -> dict[str, str]:
    """Return an environment with ports and folders of its own, and no server that a user might have configured."""
    return {
        **{name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"},
        "BIN": str(BIN),
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT))),
        "SERVE_HOME": str(folder / "serve"),
        "TRIPTYCH_CACHE_HOME": str(folder / "cache"),
        "PREFECT_PORT": str(free_port()),
        "MLFLOW_PORT": str(free_port()),
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": (folder / "artifacts").as_uri(),
    }


def serve(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `make serve` or `make stop`."""
    script = ROOT / "mlflow" / "serve.sh"
    return subprocess.run([script, command], env=environment, check=False, capture_output=True, text=True)

"""Cross-validation of three heads on the digits from a filled store: 5 x 5 folds, with the whole command around them.

The networks have random weights, which need no file: a head trains as long on their embeddings as on better ones.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time

from measure import Figure, publish

SECTION = "cross_validation"
NETWORKS = ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "mobilenet_v3_small")
TARGET_SECONDS, CORES = 60.0, 2


def compare(repeats: int, home: str) -> tuple[float, float]:
    """Return the seconds of `triptych compare` with 5 folds: on the clock, and of the processors."""
    panels = [option for network in NETWORKS for option in ("--panel", network)]
    settings = ("transfer.weights=random", "name=three-heads", "split.folds=5", f"repeats={repeats}")
    chosen = [option for setting in settings for option in ("--set", setting)]
    homes = {"TRIPTYCH_CACHE_HOME": f"{home}/cache", "PREFECT_HOME": f"{home}/prefect"}
    homes["MLFLOW_TRACKING_URI"] = f"sqlite:///{home}/mlflow.db"
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "triptych", "compare", "--fresh", *panels, *chosen]
    subprocess.run(command, check=True, env=os.environ | homes, stdout=subprocess.DEVNULL)  # noqa: S603 - our own
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Fill a store, measure, and publish the figure."""
    with tempfile.TemporaryDirectory() as home:
        compare(1, home)
        seconds, used = compare(5, home)
    name = f"5 x 5 folds of three heads on 1,797 images from a filled store: CPU seconds / {CORES} cores"
    share = used / CORES
    figures = [Figure(SECTION, name, share, share, share, TARGET_SECONDS, at_most=True)]
    publish(SECTION, figures, f"{seconds:.0f} s on the clock")


if __name__ == "__main__":
    main()

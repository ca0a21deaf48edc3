"""Compare three panels of the digits on many splits, each in a process of its own, all at the same time.

Arguments: how many, and the epochs of each. They are forked after the imports, so that all meet at the store.
"""

from __future__ import annotations

import multiprocessing
import sys

from triptych.system.environment import apply_environment

apply_environment(quiet=True)

import matplotlib.pyplot as plt  # noqa: E402, F401
import mlflow.pyfunc  # noqa: E402
import mlflow.store.tracking.sqlalchemy_store  # noqa: E402, F401
import sklearn.datasets  # noqa: E402, F401
import torchvision.models  # noqa: E402, F401

from flows.compare import compare  # noqa: E402
from triptych.config.resolve import resolve_config  # noqa: E402

# Those that are trained in epochs, each of which is logged.
PANELS = ("numpy-mlp", "torch-mlp", "shufflenet_v2_x0_5")


def run(seed: int, epochs: int) -> None:
    lengths = [f"{section}.epochs={epochs}" for section in ("numpy_mlp", "torch_mlp", "transfer")]
    compare(resolve_config("digits", panels=PANELS, settings=[f"split.seed={seed}", *lengths]))


if __name__ == "__main__":
    many, epochs = map(int, sys.argv[1:])
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=run, args=(seed, epochs)) for seed in range(many)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(sum(process.exitcode != 0 for process in processes))

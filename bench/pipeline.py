"""Benchmarks of the pipeline: its overhead over training, the time of commands, and the speedup of a second worker."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from examples import find_photos
from measure import PAIRS, QUICK_PAIRS, Figure, compare_times, publish
from tuning_trials import measure_logged_trials

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, PreparedBoard, load_board, prepare_board
from triptych.orchestration.runners import divide_shards
from triptych.panels.fitting import fit_panel
from triptych.system.threads import count_cores
from triptych.training.jobs import list_jobs
from triptych.transfer.plan import embed_board, plan_board
from triptych.transfer.records import EmbeddingPlan

SECTION = "pipeline"
TRIPTYCH = str(Path(sys.executable).with_name("triptych"))
MLPS = ["--panel", "numpy-mlp", "--panel", "torch-mlp"]
# A digit of MNIST's.
DIGIT = str(Path(__file__).parents[1] / "docs" / "digit.png")
# The commands that are timed after a comparison of the digits has warmed the home, and the most seconds they may take.
COMMANDS = {
    "compare, digits, warm home": (("compare", "--fresh"), 15.0),
    "--help": (("--help",), 0.5),
    "show": (("show",), 1.5),
    "report": (("report",), 1.5),
    "predict by the network by hand": (("predict", "digits-numpy-mlp/1", DIGIT), 2.0),
    "predict by the bundled network": (("predict", "digits-shufflenet_v2_x0_5/1", DIGIT), 5.0),
}
# Divided among the workers as a comparison divides them, apart from those for warming up.
SHARDS = 16


def time_command(*arguments: str, home: Path | None = None) -> float:
    """Return the seconds of a command as a user would run it, with a cache and stores of its own."""
    environment = dict(os.environ)
    if home is not None:
        home.mkdir(exist_ok=True)
        environment |= {"TRIPTYCH_CACHE_HOME": str(home / "cache"), "PREFECT_HOME": str(home / "prefect")}
        environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{home / 'mlflow.db'}"
    started = time.perf_counter()
    subprocess.run([TRIPTYCH, *arguments], env=environment, check=True, capture_output=True)  # noqa: S603 - our own
    return time.perf_counter() - started


def time_trainers(panels: Sequence[str]) -> float:
    """Return the seconds of training panels on the report's MNIST one after the other, without the pipeline."""
    config = resolve_config("report", panels=panels)
    prepared = prepare_board(config.boards[0])
    data = load_board(prepared)
    started = time.perf_counter()
    for job in list_jobs(prepared, fresh_since=time.time()):
        with tempfile.TemporaryDirectory() as folder:
            fit_panel(data, job, Path(folder) / "model", lambda metrics: None)
    return time.perf_counter() - started


def measure_overhead(home: Path, pairs: int) -> Figure:
    """Return the wall time of a comparison divided by the time of training its panels."""
    walls, trainers = [], []
    for pair in range(pairs):
        walls.append(time_command("compare", "--preset", "report", *MLPS, home=home / f"report-{pair}"))
        trainers.append(time_trainers(["numpy-mlp", "torch-mlp"]))
    print(f"compare --preset report, MNIST only: {median(walls):.1f} s; training alone: {median(trainers):.1f} s")
    name = "wall time of compare / training its panels one after the other, report with MNIST only"
    return compare_times(SECTION, name, walls, trainers, 1.10, at_most=True)


def measure_commands(home: Path, pairs: int) -> list[Figure]:
    """Return the seconds of each command, imports and servers included, in a home with comparisons of the digits."""
    time_command("compare", home=home)
    figures = []
    for name, (arguments, target) in COMMANDS.items():
        seconds = [time_command(*arguments, home=home) for _ in range(pairs)]
        name = f"seconds of triptych {name}"
        figures.append(Figure(SECTION, name, median(seconds), min(seconds), max(seconds), target, at_most=True))
    return figures


def embed_with(workers: int, data: BoardData) -> float:
    """Return the seconds that single-core workers take to embed the shards, after starting and warming up."""
    from distributed import Client, LocalCluster

    plan = plan_board(data, data.prepared.config.backbone_panels)
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        # First one shard for each worker, to load the libraries and the network; then the shards that are timed.
        warming = [range(number, number + 1) for number in range(SHARDS, SHARDS + workers)]
        for shares in (warming, divide_shards(SHARDS, workers)):
            started = time.perf_counter()
            client.gather([client.submit(embed_share, data.prepared, share, plan) for share in shares])
            seconds = time.perf_counter() - started
    return seconds


def embed_share(prepared: PreparedBoard, share: range, plan: EmbeddingPlan) -> int:
    """Embed a range of shards in a worker, which reads the data from its own disk; return the number of images."""
    embedded = embed_board(load_board(prepared), plan, share, on_images=lambda done, total: None)
    return sum(record.images for record in embedded.records.values())


def open_mnist() -> BoardData:
    """Return a board of MNIST with the bundled ShuffleNet."""
    settings = ["transfer.weights=bundled", "transfer.embedding_threads=1", "transfer.precision=float32"]
    config = resolve_config("digits", data="mnist", panels=["shufflenet_v2_x0_5"], settings=settings)
    return load_board(prepare_board(config.boards[0]))


def measure_workers(home: Path, pairs: int) -> Figure:
    """Return the speedup of embedding with two single-core workers instead of one, measured alternately."""
    os.environ["TRIPTYCH_CACHE_HOME"] = str(home / "prepared")
    data = open_mnist()
    one: list[float] = []
    two: list[float] = []
    for pair in range(pairs):
        for workers, seconds in ((1, one), (2, two)):
            # Each run starts with the prepared images and without embeddings.
            cache = home / f"{pair}-{workers}"
            shutil.copytree(home / "prepared", cache)
            os.environ["TRIPTYCH_CACHE_HOME"] = str(cache)
            seconds.append(embed_with(workers, data))
            shutil.rmtree(cache)
    return compare_times(SECTION, "speedup of embedding, two single-core Dask workers / one", one, two, 1.8)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, without the report")
    quick = parser.parse_args().quick
    find_photos()  # exits if the data home is incomplete
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pairs = QUICK_PAIRS if quick else PAIRS
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        commands = measure_commands(home / "digits", min(pairs, 3))
        os.environ["TRIPTYCH_CACHE_HOME"] = str(home / "cache")
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{home / 'mlflow.db'}"
        figures = [] if quick else [measure_overhead(home, 2)]
        figures += [*commands, measure_workers(home, min(pairs, 3)), measure_logged_trials()]
    publish(SECTION, figures, f"{count_cores()} cores")


if __name__ == "__main__":
    main()

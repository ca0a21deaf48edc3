"""The pipeline around the trainers: what it adds to them, how soon it is there, and what a second worker brings."""

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

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, PreparedBoard, load_board, prepare_board
from triptych.panels.mlp import fit_mlp
from triptych.system.threads import count_cores
from triptych.training.jobs import list_jobs
from triptych.transfer.plan import embed_board, plan_board
from triptych.transfer.records import EmbeddingPlan

SECTION = "pipeline"
TRIPTYCH = str(Path(sys.executable).with_name("triptych"))
MLPS = ["--panel", "numpy-mlp", "--panel", "torch-mlp"]
# As many as MNIST fills, but one for warming up.
SHARDS = 16


def time_command(*arguments: str, home: Path | None = None) -> float:
    """Return the seconds of a command as the user starts it, on a cache and stores of its own."""
    environment = dict(os.environ)
    if home is not None:
        home.mkdir()
        environment |= {"TRIPTYCH_CACHE_HOME": str(home / "cache"), "PREFECT_HOME": str(home / "prefect")}
        environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{home / 'mlflow.db'}"
    started = time.perf_counter()
    subprocess.run([TRIPTYCH, *arguments], env=environment, check=True, capture_output=True)  # noqa: S603 - our own
    return time.perf_counter() - started


def time_trainers(panels: Sequence[str]) -> float:
    """Return the seconds that the trainers of the report's MNIST compute, one after the other and nothing else."""
    config = resolve_config("report", panels=panels)
    prepared = prepare_board(config.boards[0])
    data = load_board(prepared)
    started = time.perf_counter()
    for job in list_jobs(prepared, fresh_since=time.time()):
        with tempfile.TemporaryDirectory() as folder:
            fit_mlp(data, job, Path(folder) / "model", lambda metrics: None)
    return time.perf_counter() - started


def measure_overhead(home: Path, pairs: int) -> Figure:
    """Return the wall time of a comparison over the time that its trainers compute."""
    walls, trainers = [], []
    for pair in range(pairs):
        walls.append(time_command("compare", "--preset", "report", *MLPS, home=home / f"report-{pair}"))
        trainers.append(time_trainers(["numpy-mlp", "torch-mlp"]))
    print(f"compare --preset report, MNIST only: {median(walls):.1f} s; its trainers: {median(trainers):.1f} s")
    name = "wall time of compare / the sum of what its trainers compute, report with MNIST only"
    return compare_times(SECTION, name, walls, trainers, 1.15, at_most=True)


def measure_seconds(name: str, seconds: Sequence[float], target: float) -> Figure:
    """Return seconds beside what they may be at most."""
    return Figure(SECTION, name, median(seconds), min(seconds), max(seconds), target, at_most=True)


def embed_with(workers: int, data: BoardData) -> float:
    """Return the seconds that workers of one core each take to embed some shards, once they are up and warm."""
    from distributed import Client, LocalCluster

    plan = plan_board(data, data.prepared.config.backbone_panels)
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        # One shard for each worker to load the libraries and the network; then those that count.
        for first, count in ((SHARDS, workers), (0, SHARDS)):
            started = time.perf_counter()
            shares = [range(number, number + 1) for number in range(first, first + count)]
            client.gather([client.submit(embed_share, data.prepared, share, plan) for share in shares])
            seconds = time.perf_counter() - started
    return seconds


def embed_share(prepared: PreparedBoard, share: range, plan: EmbeddingPlan) -> int:
    """Embed one share in a worker, which has the data from its own disk."""
    records = embed_board(load_board(prepared), plan, share, on_images=lambda done, total: None)
    return sum(prepared.images for prepared in records.values())


def open_mnist() -> BoardData:
    """Return MNIST with the small network that ships."""
    settings = ["transfer.weights=bundled", "transfer.embedding_threads=1", "transfer.precision=float32"]
    config = resolve_config("digits", data="mnist", panels=["shufflenet_v2_x0_5"], settings=settings)
    return load_board(prepare_board(config.boards[0]))


def measure_workers(home: Path, pairs: int) -> Figure:
    """Return how much sooner two workers of one core each have embedded the same images than one, by turns."""
    os.environ["TRIPTYCH_CACHE_HOME"] = str(home / "prepared")
    board = open_mnist()
    one: list[float] = []
    two: list[float] = []
    for pair in range(pairs):
        for workers, seconds in ((1, one), (2, two)):
            # Each finds the images, and no embeddings.
            cache = home / f"{pair}-{workers}"
            shutil.copytree(home / "prepared", cache)
            os.environ["TRIPTYCH_CACHE_HOME"] = str(cache)
            seconds.append(embed_with(workers, board))
            shutil.rmtree(cache)
    return compare_times(SECTION, "embedding on two Dask workers of one core each / on one", one, two, 1.7)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, and not the report")
    quick = parser.parse_args().quick
    find_photos()  # says what is missing of the data home
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pairs = QUICK_PAIRS if quick else PAIRS
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        helps = [time_command("--help") for _ in range(pairs)]
        digits = [time_command("compare", home=home / f"digits-{number}") for number in range(min(pairs, 3))]
        os.environ["TRIPTYCH_CACHE_HOME"] = str(home / "cache")
        figures = [] if quick else [measure_overhead(home, 2)]
        figures += [
            measure_seconds("seconds of compare, digits, everything included", digits, 45.0),
            measure_seconds("seconds of triptych --help", helps, 0.5),
            measure_workers(home, PAIRS),
        ]
    publish(SECTION, figures, f"{count_cores()} cores")


if __name__ == "__main__":
    main()

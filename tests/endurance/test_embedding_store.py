"""Processes that embed at the same time, and that are killed: what they share is the store of embeddings."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
import pytest

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(600)]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def nursery() -> Iterator[IO[str]]:
    """The input of a process that has imported PyTorch, which takes seconds: it forks for each line."""
    command = [sys.executable, str(Path(__file__).parents[1] / "helpers" / "embed_alone.py")]
    # A fork has none of the threads that matrix products would wait for.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdin
        yield process.stdin


class Neighbour:
    """Another process, which embeds; images of the same number and size are the same."""

    def __init__(self, nursery: IO[str], cache: Path, images: int, images_per_shard: int, **options: int) -> None:
        cache.mkdir(exist_ok=True)
        path = cache.with_name(f"pipe-{uuid.uuid4().hex}")
        os.mkfifo(path)
        job = {"pipe": str(path), "cache": str(cache), "images": images, "images_per_shard": images_per_shard}
        nursery.write(json.dumps(job | options) + "\n")
        nursery.flush()
        self.pipe = path.open(encoding="utf-8")
        if sys.platform == "linux":
            fcntl.fcntl(self.pipe, fcntl.F_SETPIPE_SZ, 4096)
        self.process = int(self.read())

    def read(self) -> str:
        return self.pipe.readline().strip()

    def kill(self) -> list[str]:
        """Kill the process, and return the lines that it had written before."""
        os.kill(self.process, signal.SIGKILL)
        return self.read_rest()

    def read_rest(self) -> list[str]:
        with self.pipe:
            return self.pipe.read().splitlines()

    def finish(self) -> tuple[int, list[Path]]:
        results = json.loads(self.read_rest()[-1])
        return results["computed"], [Path(shard) for shard in results["shards"]]


def test_two_processes_at_once_compute_each_shard_once(nursery: IO[str], cache: Path, tmp_path: Path) -> None:
    both = [Neighbour(nursery, cache, 80, 8), Neighbour(nursery, cache, 80, 8)]
    # Both are read at the same time: one whose pipe is full would stop, and the other would wait for its shard.
    with ThreadPoolExecutor() as readers:
        (one, shards), (other, same) = readers.map(Neighbour.finish, both)
    assert one + other == 80
    assert shards == same
    contents = [shard.read_bytes() for shard in shards]
    assert not list(shards[0].parent.glob("*.lock"))
    computed, shards = Neighbour(nursery, tmp_path / "alone", 80, 8).finish()
    assert computed == 80
    assert [shard.read_bytes() for shard in shards] == contents


def test_a_killed_process_blocks_nobody(nursery: IO[str], cache: Path) -> None:
    killed = Neighbour(nursery, cache, 80, 40)
    assert killed.read() == "4 of 80"
    # It is at both files, as it reads ahead; the pipe is full before it is done with the first.
    second = Neighbour(nursery, cache, 80, 40)
    killed.kill()
    computed, shards = second.finish()
    assert (computed, len(shards)) == (80, 2)


def list_files(cache: Path) -> dict[str, bytes]:
    return {str(file.relative_to(cache)): file.read_bytes() for file in cache.rglob("*") if file.is_file()}


def test_ten_kills_change_no_byte_of_the_store(nursery: IO[str], cache: Path, tmp_path: Path) -> None:
    job = {"images": 2000, "images_per_shard": 50, "side": 8, "batch_size": 20}
    computed, shards = Neighbour(nursery, tmp_path / "uninterrupted", **job).finish()
    assert (computed, len(shards)) == (2000, 40)
    rng = np.random.default_rng(0)
    stored = []
    for _ in range(10):
        killed = Neighbour(nursery, cache, **job)
        # Three batches of about 10 ms make a file. With the five that fit into the pipe, ten times six are not all.
        for _ in range(rng.integers(0, 7)):
            killed.read()
        time.sleep(rng.uniform(0.0, 0.01))
        lines = killed.kill()
        assert not any("shards" in line for line in lines), "it was done before it was killed"
        stored.append(len(list(cache.rglob("embeddings/*/[!.]*.npy"))))
    assert stored == sorted(stored)
    assert 0 < stored[-1] < 40
    computed, again = Neighbour(nursery, cache, **job).finish()
    assert computed == 2000 - 50 * stored[-1]
    assert [shard.relative_to(cache) for shard in again] == [
        shard.relative_to(tmp_path / "uninterrupted") for shard in shards
    ]
    expected, found = list_files(tmp_path / "uninterrupted"), list_files(cache)
    # What was being written at the time of a kill stays under a name of its own; so does the empty lock of a file
    # that was just complete.
    leftovers = {name: found.pop(name) for name in found.keys() - expected.keys()}
    assert found == expected
    assert len(leftovers) <= 10
    for name, content in leftovers.items():
        assert Path(name).name.startswith(".") or (Path(name).suffix == ".lock" and content == b"")

"""Peak memory of embedding synthetic images and training a head on them, measured in a process of its own.

Run as `python memory.py IMAGES`, it prints the peak in KiB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from measure import Figure

SECTION = "transfer"
MANY, FEW, QUICK_MANY, QUICK_FEW = 100_000, 10_000, 20_000, 5_000
SIDE, CLASSES, CHUNK = 64, 10, 1000
TARGET = 1.2


def measure_memory(*, quick: bool) -> Figure:
    """Compare the peak memory for many images with that for few."""
    many, few = (QUICK_MANY, QUICK_FEW) if quick else (MANY, FEW)
    peaks = [
        int(subprocess.check_output([sys.executable, __file__, str(images)], text=True))  # noqa: S603 - this very file
        for images in (few, many)
    ]
    ratio = peaks[1] / peaks[0]
    name = f"peak memory, {many:,} images of 64 x 64 embedded and a head trained / {few:,} ({peaks[1] / 2**20:.2f} GiB)"
    return Figure(SECTION, name, ratio, ratio, ratio, TARGET, at_most=True)


def embed_and_train(images: int, folder: Path) -> None:
    """Write images to a file, embed them with the network that ships, and train a head on the embeddings."""
    from triptych.config.trainers import TransferConfig
    from triptych.images.sources import ArrayImages
    from triptych.networks.minibatches import Examples
    from triptych.system.threads import count_cores
    from triptych.transfer.embed import store_embeddings
    from triptych.transfer.heads import train_head
    from triptych.transfer.records import load_embeddings
    from triptych.transfer.weights import load_backbone

    full = load_backbone("shufflenet_v2_x0_5", "bundled")
    # A small input takes less time, and the memory does not depend on its size.
    small = replace(full.preprocessing, resize_size=32, crop_size=32)
    # Plain float32 takes 4 to 7 ms for an image of this size; the folded format is 40 times as fast.
    backbone = replace(full, preprocessing=small, number_format="float32-folded")
    pixels, labels = write_images(images, folder / "pixels.npy")
    [record] = store_embeddings([backbone], ArrayImages(pixels), batch_size=64, threads=count_cores())
    rows = load_embeddings(record).select(np.arange(images))
    settings = TransferConfig(epochs=1, batch_size=100)
    accuracies: list[float] = []
    train_head(
        settings,
        Examples(rows, labels),
        None,
        classes=CLASSES,
        dropout=0.0,
        seed=0,
        on_epoch=lambda metrics: accuracies.append(metrics.train_accuracy),
    )
    if accuracies[0] < 2 / CLASSES:
        raise SystemExit(f"the head learned nothing: its training accuracy is {accuracies[0]:.3f}")


def write_images(images: int, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images whose brightness depends on their class, (n, 64, 64, 3) uint8 memory-mapped, and labels (n,)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, images)
    with file.open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": (images, SIDE, SIDE, 3)}
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, images, CHUNK):
            part = labels[start : start + CHUNK]
            noise = rng.integers(0, 40, (len(part), SIDE, SIDE, 3), dtype=np.uint8)
            stream.write((noise + (part * 20).astype(np.uint8)[:, None, None, None]).tobytes())
    return np.load(file, mmap_mode="r"), labels


def read_peak() -> int:
    """Return the peak resident memory of this process in KiB (Linux).

    `getrusage` would include the memory of the parent process at the time of the fork.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    """Embed and train, and print the peak."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRIPTYCH_CACHE_HOME"] = str(Path(folder) / "cache")
        embed_and_train(int(sys.argv[1]), Path(folder))
    print(read_peak())


if __name__ == "__main__":
    main()

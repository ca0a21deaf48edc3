"""Training one network in several processes of this machine, each on its share of every batch.

PyTorch's own launcher, `torchrun`, listens on all of a machine's network interfaces. Here the processes find each
other through a file and communicate over the loopback interface (gloo), or from GPU to GPU (nccl).
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed

from triptych.config.trainers import TransferConfig
from triptych.data.boards import open_board
from triptych.errors import ConfigError
from triptych.system.threads import count_cores
from triptych.training.checkpoints import Checkpoint, CheckpointFile
from triptych.training.epochs import OnEpoch
from triptych.training.examples import select_parts
from triptych.training.jobs import PanelJob
from triptych.training.loop import fit_network
from triptych.transfer.finetuning.processes import Send, run_in_processes
from triptych.transfer.finetuning.ranks import Rank
from triptych.transfer.finetuning.steps import FineTuning
from triptych.transfer.weights import fetch_backbone

State = dict[str, NDArray[Any]]
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


class OthersCheckpoint(CheckpointFile):
    """A checkpoint that another process writes."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Leave the writing to the first process."""


def count_processes(settings: TransferConfig) -> int:
    """Return how many processes train together: as many as the settings say, or else one per GPU.

    Raises:
        ConfigError: the machine has GPUs, but fewer than the processes in the settings.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus and settings.processes > gpus:
        raise ConfigError(
            f"transfer.processes = {settings.processes} is more than the {gpus} GPUs here: each process needs its own"
        )
    return settings.processes or max(1, gpus)


def train_in_processes(job: PanelJob, processes: int, checkpoint: CheckpointFile | None, on_epoch: OnEpoch) -> State:
    """Fine-tune a panel in several processes, and return the final state, as `FineTuning.copy_state` does.

    Args:
        job: the panel and its repeat.
        processes: number of processes.
        checkpoint: where the state is stored and restored from; None stores nothing.
        on_epoch: called with the metrics of each epoch; an error in it ends the processes.

    Raises:
        DivergenceError: a step or the training loss is not a finite number.
        FrozenError: the frozen part of the network has changed.
        InputError: an image or the weights can't be read.
        ProcessError: a process ended for another reason, such as a lack of memory.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        run_in_processes(partial(_train_share, job, processes, checkpoint, folder), processes, folder, on_epoch)
        with np.load(_state_file(folder), allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}


def _state_file(folder: Path) -> Path:
    return folder / "state.npz"


def _train_share(
    job: PanelJob, processes: int, checkpoint: CheckpointFile | None, folder: Path, number: int, send: Send
) -> None:
    """Train as one of several processes; the first one sends the metrics and writes the final state."""
    torch.set_num_threads(max(1, count_cores() // processes))
    os.environ |= {"GLOO_SOCKET_IFNAME": LOOPBACK, "NCCL_SOCKET_IFNAME": LOOPBACK}
    if torch.cuda.is_available():
        torch.cuda.set_device(number)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    rendezvous = f"file://{folder / 'rendezvous'}"
    distributed.init_process_group(backend, init_method=rendezvous, rank=number, world_size=processes)
    state = _train(job, checkpoint, Rank(number, processes), send)
    distributed.destroy_process_group()
    if number == 0:
        np.savez(_state_file(folder), **state)  # type: ignore[arg-type]  # NumPy's stub takes every keyword for a flag


def _train(job: PanelJob, checkpoint: CheckpointFile | None, rank: Rank, send: Send) -> State:
    if checkpoint and not rank.is_first:
        checkpoint = OthersCheckpoint(**vars(checkpoint))
    data, settings = open_board(job.prepared), job.settings
    backbone = fetch_backbone(job.panel, settings)
    tuning = FineTuning(backbone, settings, len(data.prepared.classes), job.repeat, rank)
    on_epoch: OnEpoch = send if rank.is_first else lambda metrics: None
    fit_network(tuning, settings, *select_parts(data), rng=tuning.rng, on_epoch=on_epoch, checkpoint=checkpoint)
    tuning.check_frozen()
    return tuning.copy_state()

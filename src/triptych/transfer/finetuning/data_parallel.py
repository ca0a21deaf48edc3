"""Training one network in several processes of this machine, each on its share of every batch.

PyTorch's own launcher, `torchrun`, listens on all of a machine's network interfaces. Here the processes find each
other through a file and talk over the loopback interface (gloo), or from GPU to GPU (nccl). They tell their parent
of epochs and errors by lines of JSON, and end with it, however it ends.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from triptych import errors
from triptych.config.trainers import TransferConfig
from triptych.errors import ConfigError, TriptychError
from triptych.system.threads import count_cores
from triptych.training.checkpoints import Checkpoint, CheckpointFile
from triptych.training.epochs import EpochMetrics, OnEpoch
from triptych.training.jobs import PanelJob
from triptych.transfer.finetuning.process_group import Message, run_processes

if TYPE_CHECKING:
    from triptych.transfer.finetuning.ranks import Rank

State = dict[str, NDArray[Any]]
JOB, STATE, MEETING_POINT = "job.pickle", "state.npz", "meeting-point"
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


@dataclass(frozen=True)
class SharedJob:
    """What several processes train together.

    Attributes:
        job: the panel and its repeat.
        checkpoint: where to store and look for the state; None stores nothing.
    """

    job: PanelJob
    checkpoint: CheckpointFile | None


@dataclass(frozen=True)
class OthersCheckpoint(CheckpointFile):
    """A checkpoint that another process writes."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Leave the writing to the first process."""


def count_processes(settings: TransferConfig) -> int:
    """Return how many processes train together.

    Raises:
        ConfigError: there are GPUs, but fewer than the processes that are asked for.
    """
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus and settings.processes > gpus:
        raise ConfigError(
            f"transfer.processes = {settings.processes} is more than the {gpus} GPUs here: each process needs its own"
        )
    return settings.processes or max(1, gpus)


def train_in_processes(job: PanelJob, processes: int, checkpoint: CheckpointFile | None, on_epoch: OnEpoch) -> State:
    """Fine-tune a panel in several processes, and return what `FineTuning.copy_state` gives at the end.

    Args:
        job: the panel and its repeat.
        processes: how many.
        checkpoint: where to store and look for the state; None stores nothing.
        on_epoch: called with the metrics of each epoch; what it raises ends the processes.

    Raises:
        DivergenceError: a step or the training loss is no finite number.
        FrozenError: the frozen part of the network has changed.
        InputError: an image or the weights can't be read.
        ProcessError: a process ended for another reason, such as a lack of memory.
    """

    def listen(message: Message) -> None:
        if "error" in message:
            raise getattr(errors, message["error"])(message["text"])
        on_epoch(EpochMetrics(**message))

    threads = str(max(1, count_cores() // processes))
    environment = {"GLOO_SOCKET_IFNAME": LOOPBACK, "NCCL_SOCKET_IFNAME": LOOPBACK, "OMP_NUM_THREADS": threads}
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / JOB).write_bytes(pickle.dumps(SharedJob(job, checkpoint)))
        run_processes("triptych.transfer.finetuning.data_parallel", [name], processes, environment, folder, listen)
        with np.load(folder / STATE, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}


def take_part(folder: Path, number: int, size: int, tell: Callable[[Message], None]) -> None:
    """Train as one of several processes; the first one tells of the epochs and writes the state at the end."""
    from torch import cuda, distributed

    from triptych.transfer.finetuning.ranks import Rank

    shared: SharedJob = pickle.loads((folder / JOB).read_bytes())  # noqa: S301 - the parent wrote it a moment ago
    if cuda.is_available():
        cuda.set_device(number)
    backend = "nccl" if cuda.is_available() else "gloo"
    meeting_point = f"file://{folder / MEETING_POINT}"
    distributed.init_process_group(backend, init_method=meeting_point, rank=number, world_size=size)
    state = _train(shared, Rank(number, size), tell)
    distributed.destroy_process_group()
    if number == 0:
        np.savez(folder / STATE, **state)  # type: ignore[arg-type]  # NumPy's stub takes every keyword for a flag


def _train(shared: SharedJob, rank: Rank, tell: Callable[[Message], None]) -> State:
    from triptych.data.boards import load_board
    from triptych.training.examples import select_parts
    from triptych.training.loop import fit_network
    from triptych.transfer.finetuning.steps import FineTuning
    from triptych.transfer.weights import load_backbone

    board, checkpoint = load_board(shared.job.prepared), shared.checkpoint
    if checkpoint and not rank.is_first:
        checkpoint = OthersCheckpoint(**vars(checkpoint))
    settings = board.prepared.config.transfer
    backbone = load_backbone(shared.job.panel, settings.weights)
    tuning = FineTuning(backbone, settings, len(board.prepared.classes), shared.job.repeat, rank)
    on_epoch: OnEpoch = (lambda metrics: tell(asdict(metrics))) if rank.is_first else (lambda metrics: None)
    parts = select_parts(board)
    fit_network(tuning, settings, *parts, rng=tuning.rng, on_epoch=on_epoch, checkpoint=checkpoint)
    tuning.check_frozen()
    return tuning.copy_state()


def _open_channel() -> Callable[[Message], None]:
    """Return the function that sends a line to the parent; whatever else is printed goes to standard error.

    A line is written at once, so that those of several processes don't mix.
    """
    channel = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(message: Message) -> None:
        os.write(channel, f"{json.dumps(message)}\n".encode())

    return tell


def _describe(error: TriptychError) -> Message:
    """Return an error as a message: its first class that is made from a text alone."""
    classes = [kind for kind in type(error).__mro__ if "__init__" not in vars(kind)]
    return {"error": classes[0].__name__, "text": str(error)}


def _end_with_parent() -> None:
    """End this process as soon as its parent has closed, or lost, the other end of its standard input."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Run one process; its number and how many there are stand in the environment, as `torchrun` has it."""
    _end_with_parent()
    tell = _open_channel()
    try:
        take_part(Path(sys.argv[1]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), tell)
    except TriptychError as error:
        tell(_describe(error))
        code = 1
    except Exception:  # noqa: BLE001 - the parent quotes the last line
        traceback.print_exc()
        code = 1
    else:
        code = 0
    # Waiting for what libraries have left running could take for ever where another process is gone.
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import RandomResizedCrop

from triptych.config.resolve import resolve_config
from triptych.config.schema import BoardConfig
from triptych.config.trainers import TransferConfig
from triptych.data.boards import PreparedBoard, load_board, prepare_board
from triptych.errors import ConfigError, DivergenceError, FrozenError, ProcessError, UnreadableImageError
from triptych.evaluation.evaluator import check_reload, evaluate_logged_model, predict_part
from triptych.images.augmentation import AUGMENTATIONS, augment, draw_box
from triptych.images.prefetch import read_ahead
from triptych.images.sources import ArrayImages
from triptych.networks.backbones import Backbone
from triptych.networks.head import TransferNetwork
from triptych.networks.light_torch import build_linear
from triptych.networks.minibatches import Examples
from triptych.networks.saved import load_model
from triptych.panels.fitting import FittedPanel
from triptych.panels.transfer import fit_transfer
from triptych.training.checkpoints import CheckpointFile
from triptych.training.epochs import EpochMetrics
from triptych.training.examples import ImageRows, select_parts
from triptych.training.jobs import PanelJob
from triptych.training.loop import fit_network
from triptych.transfer.finetuning import data_parallel
from triptych.transfer.finetuning.data_parallel import train_in_processes
from triptych.transfer.finetuning.process_group import run_processes
from triptych.transfer.finetuning.ranks import Rank
from triptych.transfer.finetuning.steps import FineTuning
from triptych.transfer.finetuning.unfreezing import list_blocks, select_last
from triptych.transfer.heads import train_head
from triptych.transfer.records import EmbeddingRecord
from triptych.transfer.weights import load_backbone
from triptych.tuning.trainers import load_trainer

NAME, CLASSES, IMAGES = "shufflenet_v2_x0_5", 3, 11
BATCH_NORM = nn.modules.batchnorm._BatchNorm
PHOTOS = {"green": 12, "red": 12}


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """The bundled network: its inputs are small."""
    return load_backbone(NAME, "bundled")


@pytest.fixture(scope="module")
def examples() -> Examples:
    array = np.random.default_rng(0).integers(0, 256, size=(IMAGES, 52, 60, 3), dtype=np.uint8)
    rows: Any = ImageRows(ArrayImages(array), np.arange(IMAGES))
    return Examples(rows, np.arange(IMAGES) % CLASSES)


def configure(**fields: Any) -> TransferConfig:
    usual = {"unfreeze_blocks": 2, "epochs": 2, "batch_size": 4, "weights": "bundled", "embedding_threads": 1}
    return TransferConfig(**{**usual, "cache_embeddings": False, **fields})


def train(backbone: Backbone, examples: Examples, settings: TransferConfig, **options: Any) -> FineTuning:
    tuning = FineTuning(backbone, settings, CLASSES, seed=5)
    usual = {"rng": tuning.rng, "on_epoch": lambda metrics: None}
    fit_network(tuning, settings, examples, None, **{**usual, **options})
    return tuning


def assert_equal_states(some: dict[str, Any], other: dict[str, Any], tolerance: float = 0.0) -> None:
    assert some.keys() == other.keys()
    for name, array in some.items():
        np.testing.assert_allclose(array, other[name], rtol=0.0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(
    ("name", "count", "last"),
    [
        ("mobilenet_v2", 19, ["features.17", "features.18"]),
        ("resnet18", 9, ["layer4.0", "layer4.1"]),
        ("resnet50", 17, ["layer4.1", "layer4.2"]),
        ("vgg16", 15, ["classifier.0", "classifier.3"]),
        ("vit_b_16", 13, ["encoder.layers.encoder_layer_10", "encoder.layers.encoder_layer_11"]),
    ],
)
def test_blocks_hold_every_parameter_once(name: str, count: int, last: list[str]) -> None:
    with torch.device("meta"):
        backbone = load_backbone(name, "random")
    blocks = list_blocks(backbone.trunk, backbone.preprocessing.crop_size)
    held = [id(parameter) for block in blocks for parameter in block.parameters()]
    assert sorted(held) == sorted(id(parameter) for parameter in backbone.trunk.parameters())
    assert len(blocks) == count
    assert [block.name for block in select_last(blocks, 2, name)] == last
    assert select_last(blocks, 0, name) == []


def test_what_an_image_does_not_pass_is_no_block() -> None:
    with torch.device("meta"):
        blocks = list_blocks(load_backbone("googlenet", "random").trunk, 224)
    assert blocks[-1].name == "inception5b"


def test_more_blocks_than_there_are_is_refused(backbone: Backbone) -> None:
    with pytest.raises(ConfigError, match=f"unfreeze_blocks = 19 is more than the 18 blocks of {NAME}: set at most 18"):
        FineTuning(backbone, configure(unfreeze_blocks=19), CLASSES, seed=0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"unfreeze_blocks": 2}, "transfer.unfreeze_blocks = 2 needs .*: set transfer.cache_embeddings=false"),
        ({"augmentation": "flip"}, "transfer.augmentation = flip needs"),
        ({"training_precision": "bfloat16"}, "transfer.training_precision = bfloat16 needs"),
        ({"processes": 2}, "transfer.processes = 2 needs"),
        ({"unfreeze_blocks": 1, "cache_embeddings": False, "head": "lbfgs"}, "set transfer.head=sgd"),
        ({"batch_norm": "train", "cache_embeddings": False}, "set transfer.unfreeze_blocks"),
        ({"block_learning_rate_decay": 0.0}, "greater than 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransferConfig(**fields)


def test_a_frozen_network_with_stored_embeddings_is_not_fine_tuned() -> None:
    assert not TransferConfig(cache_embeddings=False, processes=1).fine_tunes
    assert TransferConfig(cache_embeddings=False, processes=2).fine_tunes
    own = BoardConfig(transfer=TransferConfig(cache_embeddings=False), networks={"resnet18": {"unfreeze_blocks": 1}})
    assert own.for_panel("resnet18").transfer.fine_tunes
    assert not own.for_panel("resnet50").transfer.fine_tunes


def train_by_hand(backbone: Backbone, examples: Examples, *, batch_norm: bool = False) -> nn.Module:
    """Two epochs as in the tutorials of PyTorch; the last two blocks of ShuffleNet are conv5 and stage4.3."""
    trunk = load_backbone(NAME, "bundled").trunk
    rng = np.random.default_rng(5)
    linear = build_linear(backbone.dimension, CLASSES, rng)
    groups: list[dict[str, Any]] = [{"params": linear.parameters(), "lr": 0.1}]
    for depth, block in enumerate((trunk.get_submodule("conv5"), trunk.get_submodule("stage4.3")), start=1):
        block.requires_grad_(requires_grad=True)
        groups.append({"params": block.parameters(), "lr": 0.1 * 0.5**depth})
    optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=0.01)
    rows: Any = examples.features
    inputs = torch.stack([backbone.preprocessing.build()(image) for image in rows.images.array])
    inputs, labels = inputs.to(memory_format=torch.channels_last), torch.from_numpy(examples.labels)
    for _ in range(2):
        order = torch.from_numpy(rng.permutation(IMAGES))
        trunk.get_submodule("conv5").train(batch_norm)
        trunk.get_submodule("stage4.3").train(batch_norm)
        for batch in order.split(4):
            optimizer.zero_grad()
            nn.functional.cross_entropy(linear(trunk(inputs[batch])), labels[batch]).backward()
            optimizer.step()
    return trunk.eval()


@pytest.mark.parametrize("batch_norm", ["eval", "train"])
def test_fine_tuning_is_the_loop_written_by_hand(backbone: Backbone, examples: Examples, batch_norm: str) -> None:
    before = backbone.digest()
    settings = configure(learning_rate=0.1, weight_decay=0.01, block_learning_rate_decay=0.5, batch_norm=batch_norm)
    tuned = train(backbone, examples, settings).finish().backbone.trunk.state_dict()
    expected = train_by_hand(backbone, examples, batch_norm=batch_norm == "train").state_dict()
    assert_equal_states(tuned, expected, tolerance=1e-4)
    original = backbone.trunk.state_dict()
    changed = {name for name, value in tuned.items() if not torch.equal(value, original[name])}
    assert {name.partition(".")[0] for name in changed} == {"conv5", "stage4"}
    assert {name for name in changed if name.startswith("stage4")} == {n for n in changed if n.startswith("stage4.3")}
    assert any("running_mean" in name for name in changed) == (batch_norm == "train")
    assert backbone.digest() == before


def test_only_batch_norm_in_trained_blocks_is_ever_in_training_mode(backbone: Backbone, examples: Examples) -> None:
    tuning = FineTuning(backbone, configure(batch_norm="train"), CLASSES, seed=0)
    seen: dict[str, set[bool]] = {}
    for name, module in tuning.network.trunk.named_modules():
        module.register_forward_pre_hook(lambda m, _, name=name: seen.setdefault(name, set()).add(m.training))
    fit_network(tuning, configure(epochs=1), examples, None, rng=tuning.rng, on_epoch=lambda metrics: None)
    kinds = dict(tuning.network.trunk.named_modules())
    expected = {n for n in seen if n.startswith(("conv5", "stage4.3")) and isinstance(kinds[n], BATCH_NORM)}
    assert {name for name, modes in seen.items() if True in modes} == expected
    assert all(False in modes for modes in seen.values())


def test_a_frozen_part_that_changes_is_noticed(backbone: Backbone, examples: Examples) -> None:
    tuning = train(backbone, examples, configure(epochs=1))
    with torch.no_grad():
        tuning.network.get_buffer("trunk.conv1.1.running_mean").add_(1e-6)
    with pytest.raises(FrozenError, match=f"frozen part of {NAME} has changed"):
        tuning.finish()


def test_without_unfrozen_blocks_it_is_training_on_embeddings(backbone: Backbone, examples: Examples) -> None:
    dropping = replace(backbone, head_dropout=0.5)
    settings = configure(unfreeze_blocks=0, epochs=3)
    rows: Any = examples.features
    stored = Examples(dropping.embed(rows.images.array), examples.labels)
    metrics: dict[str, list[EpochMetrics]] = {"stored": [], "live": []}
    options: dict[str, Any] = {"classes": CLASSES, "dropout": 0.5, "seed": 5, "on_epoch": metrics["stored"].append}
    head = train_head(settings, stored, None, **options)
    tuned = train(dropping, examples, settings, on_epoch=metrics["live"].append).finish()
    np.testing.assert_allclose(tuned.head.linear.weight.detach(), head.linear.weight.detach(), rtol=1e-4, atol=1e-5)
    assert metrics["live"][-1].train_loss == pytest.approx(metrics["stored"][-1].train_loss, rel=1e-4)
    assert tuned.backbone.digest() == backbone.digest()


def test_mixed_precision_is_near_the_exact_one(backbone: Backbone, examples: Examples) -> None:
    exact, mixed = (train(backbone, examples, configure(training_precision=p)) for p in ("float32", "bfloat16"))
    a, b = exact.network.linear.weight.detach(), mixed.network.linear.weight.detach()
    assert b.dtype == torch.float32
    assert not torch.equal(a, b)
    assert nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.99


class PowerCutError(Exception):
    """Stands for a power cut."""


@pytest.mark.parametrize("batch_norm", ["eval", "train"])
def test_an_interrupted_training_ends_with_the_same_bits(
    backbone: Backbone, examples: Examples, batch_norm: str, tmp_path: Path
) -> None:
    dropping = replace(backbone, head_dropout=0.3)
    settings = configure(epochs=3, batch_norm=batch_norm, augmentation="crop_and_flip", schedule="cosine")
    checkpoint = CheckpointFile(tmp_path / "checkpoint.npz", "some", every_epochs=1)
    expected = train(dropping, examples, settings).copy_state()

    def interrupt(metrics: EpochMetrics) -> None:
        if metrics.epoch == 2:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        train(dropping, examples, settings, on_epoch=interrupt, checkpoint=checkpoint)
    heard: list[EpochMetrics] = []
    ended = train(dropping, examples, settings, on_epoch=heard.append, checkpoint=checkpoint)
    assert [metrics.epoch for metrics in heard] == [1, 2, 3]
    assert_equal_states(ended.copy_state(), expected)


def test_the_best_epoch_is_kept(backbone: Backbone, examples: Examples) -> None:
    settings = configure(epochs=3, keep_best_epoch=True, learning_rate=0.5)
    tuning, states = FineTuning(backbone, settings, CLASSES, seed=0), []
    losses: list[float] = []

    def note(metrics: EpochMetrics) -> None:
        states.append(tuning.copy_state())
        losses.append(metrics.val_loss or math.inf)

    fit_network(tuning, settings, examples, examples, rng=tuning.rng, on_epoch=note)
    assert_equal_states(tuning.copy_state(), states[int(np.argmin(losses))])


@pytest.mark.parametrize("how", AUGMENTATIONS)
def test_augmentation_depends_on_seed_epoch_and_image_alone(backbone: Backbone, examples: Examples, how: str) -> None:
    rows: Any = examples.features
    batches = [np.array([3, 1]), np.array([7]), np.array([0, 10, 5])]

    def read(threads: int, **given: int) -> bytes:
        def load(index: int) -> Any:
            keys = {"seed": 1, "epoch": 2, **given}
            return augment(rows.images[index], backbone.preprocessing, how, index=index, **keys)

        crops = list(read_ahead(load, batches, threads))
        assert [crop.shape for crop in crops] == [(len(batch), 48, 48, 3) for batch in batches]
        return np.concatenate(crops).tobytes()

    assert read(1) == read(4)
    assert (read(1) == read(1, epoch=3)) == (read(1) == read(1, seed=2)) == (how == "none")
    assert how != "none" or read(1)[: 48 * 48 * 3] == backbone.preprocessing.crop(rows.images[3]).tobytes()


def test_flips_come_half_of_the_time(backbone: Backbone, examples: Examples) -> None:
    rows: Any = examples.features
    plain = backbone.preprocessing.crop(rows.images[0])
    crops = [augment(rows.images[0], backbone.preprocessing, "flip", seed=0, epoch=e, index=0) for e in range(200)]
    flipped = sum(np.array_equal(crop, plain[:, ::-1]) for crop in crops)
    assert flipped + sum(np.array_equal(crop, plain) for crop in crops) == 200
    assert 70 < flipped < 130


@pytest.mark.parametrize(("width", "height"), [(60, 50), (400, 20), (20, 400)])
def test_boxes_are_torchvisions(width: int, height: int) -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([draw_box(width, height, rng) for _ in range(1500)])
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= width).all()
    assert (boxes[:, 3] <= height).all()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        image = torch.empty(1, height, width)
        drawn = [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(1500)]
    theirs = np.array([(left, top, left + w, top + h) for top, left, h, w in drawn])
    for ours, other in zip(boxes.T, theirs.T, strict=True):
        error = 5 * math.hypot(ours.std(), other.std()) / math.sqrt(1500)
        assert abs(ours.mean() - other.mean()) <= error + 1e-9
        assert ours.std() == pytest.approx(other.std(), rel=0.15, abs=1e-9)


@pytest.fixture(scope="module")
def record(make_photos: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> PreparedBoard:
    """A board whose 12 training images make batches of 11 and 1: two processes can share neither evenly."""
    folder = make_photos(tmp_path_factory.mktemp("few") / "colours", PHOTOS)
    board = resolve_config("digits", data=f"folder:{folder}").boards[0]
    return prepare_board(board.model_copy(update={"panels": (NAME,), "transfer": configure(batch_size=11)}))


def make_job(prepared: PreparedBoard, **fields: Any) -> PanelJob:
    transfer = prepared.config.transfer.model_copy(update=fields)
    return PanelJob(replace(prepared, config=prepared.config.model_copy(update={"transfer": transfer})), NAME, 0)


def test_two_processes_give_the_weights_of_one(prepared: PreparedBoard, tmp_path: Path) -> None:
    job = make_job(prepared, augmentation="flip", keep_best_epoch=True, checkpoint_epochs=1)
    board, settings = load_board(job.prepared), job.prepared.config.transfer
    train_part, validation = select_parts(board)
    assert len(train_part) == 12
    alone: list[EpochMetrics] = []
    tuning = FineTuning(load_backbone(NAME, "bundled"), settings, 2, seed=0)
    fit_network(tuning, settings, train_part, validation, rng=tuning.rng, on_epoch=alone.append)
    together: list[EpochMetrics] = []
    checkpoint = CheckpointFile(tmp_path / "checkpoint.npz", "shared")
    state = train_in_processes(job, 2, checkpoint, together.append)
    assert_equal_states(state, tuning.copy_state(), tolerance=1e-5)
    for one, other in zip(alone, together, strict=True):
        assert (one.epoch, one.val_accuracy) == (other.epoch, other.val_accuracy)
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
    assert checkpoint.count_epochs() == settings.epochs


@pytest.mark.parametrize("length", [7, 1])
def test_the_losses_of_all_processes_average_to_that_of_one(
    backbone: Backbone, examples: Examples, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "triptych.transfer.finetuning.steps.DistributedDataParallel", lambda network, **options: network
    )
    dropping = replace(backbone, head_dropout=0.5)
    rows: Any = examples.features
    labels, indices = examples.labels[:length], np.arange(length)

    def measure(number: int, size: int) -> torch.Tensor:
        tuning = FineTuning(dropping, configure(), CLASSES, 0, Rank(number, size))
        mask = tuning._draw_mask(length, np.random.default_rng(1))
        crops = np.stack([backbone.preprocessing.crop(rows.images[i]) for i in tuning._take_share(indices)])
        loss = tuning._measure_step(crops, labels, mask)
        loss.backward()
        gradient = tuning.network.linear.weight.grad
        assert gradient is not None
        return torch.cat([loss.detach()[None], gradient.flatten()])

    shares = torch.stack([measure(number, 3) for number in range(3)]).mean(dim=0)
    np.testing.assert_allclose(shares, measure(0, 1), rtol=1e-4, atol=1e-5)


def test_an_error_in_a_process_is_the_parents(prepared: PreparedBoard) -> None:
    with pytest.raises(DivergenceError, match="learning rate 1e\\+30 is too large") as caught:
        train_in_processes(make_job(prepared, learning_rate=1e30), 1, None, lambda metrics: None)
    assert "\n" not in str(caught.value)


def test_errors_travel_as_what_the_parent_can_build() -> None:
    error = UnreadableImageError(Path("a.jpg"), "it is cut off")
    assert data_parallel._describe(error) == {"error": "DataError", "text": str(error)}
    assert data_parallel._describe(DivergenceError("x")) == {"error": "DivergenceError", "text": "x"}


@pytest.fixture
def run_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that runs a script in two processes."""

    def run(script: str, listen: Callable[[dict[str, Any]], None] = lambda message: None) -> None:
        (tmp_path / "script.py").write_text(f"import os, signal, sys, time\nnumber = int(os.environ['RANK'])\n{script}")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        run_processes("script", [], 2, {}, tmp_path, listen)

    return run


def test_a_process_that_is_killed_ends_the_others(run_script: Callable[..., None]) -> None:
    with pytest.raises(ProcessError, match=r"process 2 of 2 was ended by signal 9: try transfer.processes=1"):
        run_script("sys.stdin.read() if number == 0 else os.kill(os.getpid(), signal.SIGKILL)")


def test_a_process_that_fails_is_quoted(run_script: Callable[..., None]) -> None:
    with pytest.raises(ProcessError, match=r"process 1 of 2 ended with exit code 1 \(ValueError: no luck\)"):
        run_script("if number == 0: raise ValueError('no luck')\nsys.stdin.read()")


def test_an_interrupt_while_listening_ends_the_processes(run_script: Callable[..., None]) -> None:
    heard: list[int] = []

    def listen(message: dict[str, Any]) -> None:
        heard.append(message["pid"])
        if len(heard) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_script("""os.write(1, b'{"pid": %d}\\n' % os.getpid())\nsys.stdin.read()""", listen)
    assert all(has_ended(pid) for pid in heard)


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    worker = (
        "import os, time\nfrom triptych.transfer.finetuning.data_parallel import _end_with_parent\n_end_with_parent()\n"
    )
    (tmp_path / "worker.py").write_text(worker + """print('{"pid": %d}' % os.getpid(), flush=True)\ntime.sleep(60)\n""")
    parent = (
        "import os, signal\nfrom pathlib import Path\nfrom triptych.transfer.finetuning.process_group import run_processes\n"
        "def listen(message):\n    print(message['pid'], flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "run_processes('worker', [], 1, {}, Path.cwd(), listen)\n"
    )
    command = [sys.executable, "-c", parent]
    killed = subprocess.run(command, cwd=tmp_path, timeout=30, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    until = time.monotonic() + 10.0
    while not has_ended(int(killed.stdout)) and time.monotonic() < until:
        time.sleep(0.05)
    assert has_ended(int(killed.stdout))


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, or only waits for its parent to hear of it."""
    command = Path(f"/proc/{pid}/cmdline")
    return not command.exists() or not command.read_bytes()


@pytest.fixture(scope="module")
def fitted(prepared: PreparedBoard, tmp_path_factory: pytest.TempPathFactory) -> FittedPanel:
    job = make_job(prepared, augmentation="crop_and_flip", learning_rate=0.05)
    embedded = EmbeddingRecord((), load_backbone(NAME, "bundled").digest(), 24, 0, 0.5)
    folder = tmp_path_factory.mktemp("model") / "model"
    return fit_transfer(load_board(job.prepared), job, folder, lambda metrics: None, embedded=embedded)


def test_a_fine_tuned_panel_repeats_its_probabilities(prepared: PreparedBoard, fitted: FittedPanel) -> None:
    board, model = load_board(prepared), load_model(fitted.folder)
    assert check_reload(model, board, fitted.reference) <= 1e-5
    network: Any = model.get_raw_model()
    assert isinstance(network, TransferNetwork)
    tested = predict_part(network, board, None, board.split.test)
    expected = network.predict_images([board.images[int(index)] for index in board.split.test])
    np.testing.assert_array_equal(tested, expected)


def test_test_images_go_through_the_network_that_was_trained(prepared: PreparedBoard, fitted: FittedPanel) -> None:
    job, nowhere = make_job(prepared), EmbeddingRecord((Path("of-the-frozen-network.npy"),), "", 24, 0, 0.0)
    board, model = load_board(job.prepared), load_model(fitted.folder)
    evaluation = evaluate_logged_model(model, board, fitted.reference, nowhere)
    expected = predict_part(model.get_raw_model(), board, None, board.split.test)
    np.testing.assert_array_equal(evaluation.predictions.probabilities, expected)


def test_a_trial_fine_tunes_too(prepared: PreparedBoard) -> None:
    job = make_job(prepared, learning_rate=0.05)
    tried: list[EpochMetrics] = []
    trained: list[EpochMetrics] = []
    board, settings = load_board(job.prepared), job.prepared.config.transfer
    load_trainer(board, NAME, None)(settings, tried.append)
    tuning = FineTuning(load_backbone(NAME, "bundled"), settings, 2, seed=0)
    fit_network(tuning, settings, *select_parts(board), rng=tuning.rng, on_epoch=trained.append)
    assert [metrics.val_loss for metrics in tried] == [metrics.val_loss for metrics in trained]


def test_a_run_tells_what_was_trained(fitted: FittedPanel) -> None:
    tags = fitted.tags
    assert tags["trained_blocks"] == "2 of 18: stage4.3, conv5.0"
    assert tags["frozen_sha256_before"] == tags["frozen_sha256_after"]
    assert tags["backbone_sha256_before"] != tags["backbone_sha256_after"]
    assert (tags["processes"], tags["batch_norm"], tags["training_precision"]) == ("1", "eval", "float32")
    assert 0 < int(tags["trained_parameters"]) < fitted.metrics["parameters"]
    assert len(fitted.curves["train_loss"]) == 2


def test_gray_images_are_augmented_too(backbone: Backbone) -> None:
    gray = np.asarray(Image.linear_gradient("L"))[:, :, None]
    crop = augment(gray, backbone.preprocessing, "crop_and_flip", seed=0, epoch=1, index=0)
    assert crop.shape == (48, 48, 3)

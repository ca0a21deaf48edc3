"""The presets: named, complete configurations of one or more boards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from triptych.config.names import NUMPY_MLP, TORCH_MLP
from triptych.config.schema import BoardConfig, DataConfig, EvaluateConfig, SplitConfig
from triptych.config.trainers import MLPConfig, TransferConfig

DEFAULT_PRESET = "digits"
# The preset for a folder of images if no preset is named.
FOLDER_PRESET = "photos"


@dataclass(frozen=True)
class Preset:
    """A named, complete configuration.

    Attributes:
        summary: what it compares, in one line.
        needs: what it requires, in one line.
        boards: the boards; panels are compared only within a board.
    """

    summary: str
    needs: str
    boards: tuple[BoardConfig, ...]


# The two networks of the report are not twins: the one in PyTorch has one hidden layer and an averaged loss.
REPORT_TORCH_MLP = MLPConfig(
    hidden_units=(50,),
    loss_reduction="mean",
    learning_rate=0.01,
    momentum=0.9,
    epochs=200,
    initialisation="uniform_fan_in",
)

# What separates the two networks of the report, one difference at a time: each changes the network in PyTorch alone.
# A learning rate of 0.1 without momentum takes, in the long run, the steps of 0.01 with a momentum of 0.9.
LADDER: dict[str, dict[str, Any]] = {
    "gradient": {"loss_reduction": "sum"},
    "layers": {"hidden_units": (50, 50)},
    "initialisation": {"initialisation": "normal"},
    "momentum": {"learning_rate": 0.1, "momentum": 0.0},
    "epochs": {"epochs": 50},
}

# For small inputs and few images: smaller batches, and a wider network than the default; chosen on validation.
DIGITS_MLP = MLPConfig(hidden_units=(100, 50), learning_rate=0.1, momentum=0.9, batch_size=16, epochs=60)

# 3,072 inputs with N(0, 0.1) weights saturate sigmoids, hence ReLU, cross-entropy and fan-in initialisation.
THUMBNAIL_MLP = MLPConfig(
    hidden_units=(128, 64),
    activation="relu",
    loss="cross_entropy",
    learning_rate=0.005,
    momentum=0.9,
    weight_decay=1e-3,
    batch_size=32,
    epochs=40,
    initialisation="uniform_fan_in",
)

# Chosen on validation from one to three hidden layers of 300 to 2,048 units, with and without dropout.
STRONG_MLP = MLPConfig(
    hidden_units=(2048,),
    activation="relu",
    loss="cross_entropy",
    learning_rate=0.1,
    schedule="cosine",
    momentum=0.9,
    weight_decay=1e-4,
    dropout=0.5,
    input_dropout=0.2,
    input_range="unit",
    initialisation="he_normal",
    epochs=40,
    monitor="val_accuracy",
    keep_best_epoch=True,
    threads=2,
)

MNIST_70_30 = SplitConfig(test_fraction=0.3, validation_fraction=0.0, keep_own_parts=False)
MNIST_WITH_VALIDATION = SplitConfig(test_fraction=0.3, validation_fraction=0.1, keep_own_parts=False)

PRESETS = {
    "digits": Preset(
        summary="scikit-learn's digits: NumPy, its PyTorch twin, transfer from the bundled backbone, two baselines",
        needs="nothing: no network, under a minute on two cores",
        boards=(
            BoardConfig(
                name="digits",
                panels=(NUMPY_MLP, TORCH_MLP, "shufflenet_v2_x0_5", "nearest-neighbours", "most-frequent"),
                data=DataConfig(source="digits"),
                numpy_mlp=DIGITS_MLP,
                torch_mlp=DIGITS_MLP,
                transfer=TransferConfig(weights="bundled"),
                evaluate=EvaluateConfig(compare_twins=True),
            ),
        ),
    ),
    "report": Preset(
        summary="the course report, reproduced: both MLPs on MNIST split 70/30; VGG16 and ResNet50 on Flowers-102",
        needs="MNIST, Flowers-102 and ImageNet weights, on disk or downloaded",
        boards=(
            BoardConfig(
                name="report-mnist",
                data=DataConfig(source="mnist"),
                split=MNIST_70_30,
                torch_mlp=REPORT_TORCH_MLP,
            ),
            BoardConfig(
                name="report-flowers102",
                panels=("vgg16", "resnet50"),
                repeats=2,
                data=DataConfig(source="flowers102"),
            ),
        ),
    ),
    "ladder": Preset(
        summary="why the two MLPs of the report differ: one change of the network in PyTorch at a time",
        needs="MNIST, on disk or downloaded; a quarter of an hour on two cores",
        boards=tuple(
            BoardConfig(
                name=f"ladder-{change}",
                data=DataConfig(source="mnist"),
                split=MNIST_70_30,
                numpy_mlp=REPORT_TORCH_MLP.model_copy(update=fields),
                torch_mlp=REPORT_TORCH_MLP,
            )
            for change, fields in LADDER.items()
        ),
    ),
    "matched": Preset(
        summary="MNIST by the NumPy network and its exact twin in PyTorch",
        needs="MNIST, on disk or downloaded",
        boards=(
            BoardConfig(
                name="matched",
                data=DataConfig(source="mnist"),
                split=MNIST_WITH_VALIDATION,
                evaluate=EvaluateConfig(compare_twins=True),
            ),
        ),
    ),
    "strong": Preset(
        summary="MNIST by the best NumPy network: ReLU, cross-entropy, momentum, a schedule and dropout",
        needs="MNIST, on disk or downloaded; five minutes on two cores",
        boards=(
            BoardConfig(
                name="strong",
                panels=(NUMPY_MLP,),
                data=DataConfig(source="mnist"),
                split=MNIST_WITH_VALIDATION,
                numpy_mlp=STRONG_MLP,
                torch_mlp=STRONG_MLP,
            ),
        ),
    ),
    "photos": Preset(
        summary="your own photos: transfer learning, and MLPs and baselines on thumbnails of the same photos",
        needs="--data DIR with one folder of images per class, and ImageNet weights, on disk or downloaded",
        boards=(
            BoardConfig(
                name="photos",
                panels=(NUMPY_MLP, TORCH_MLP, "vgg16", "resnet50", "logistic-regression", "most-frequent"),
                repeats=2,
                data=DataConfig(source=""),
                numpy_mlp=THUMBNAIL_MLP,
                torch_mlp=THUMBNAIL_MLP,
            ),
        ),
    ),
}

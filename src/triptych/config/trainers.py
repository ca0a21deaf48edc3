"""The sections that panels are trained by: every field with its unit, its range and a line that says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from triptych.config.fields import Fraction, NonNegativeInt, PositiveInt, Section, make_absolute
from triptych.config.names import BACKBONE_NAMES, WEIGHTS_SUFFIXES

# What enters the last layers of all pretrained networks of a board is computed by the same settings.
EMBEDDING_FIELDS = {"weights", "precision", "cache_embeddings", "embedding_batch_size", "embedding_threads"}
# Where one of these differs, a head on stored embeddings is not what is asked for.
FROZEN_NETWORK = {"augmentation": "none", "unfreeze_blocks": 0, "batch_norm": "eval", "training_precision": "float32"}


class PanelConfig(Section):
    """What the sections of all panels have in common."""

    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    """The metric on the validation part that `tune` compares trials by."""
    checkpoint_epochs: NonNegativeInt = 1
    """Epochs between checkpoints, where a panel is fitted in epochs; 0 stores nothing, so that every run fits anew."""
    threads: PositiveInt = 1
    """Threads of the matrix products."""

    @property
    def chooses(self) -> bool:
        """Whether anything is chosen on the validation part."""
        return False

    @property
    def fine_tunes(self) -> bool:
        """Whether more of a pretrained network is trained than its last layer."""
        return False


class TrainingConfig(PanelConfig):
    """Minibatch stochastic gradient descent, as every network here is trained."""

    learning_rate: Annotated[float, Field(gt=0.0)] = 0.1
    """Step size, the largest where a schedule changes it."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the step size falls from epoch to epoch: not at all, in a straight line, or along half a cosine."""
    momentum: Fraction = 0.0
    """Momentum coefficient, as in `torch.optim.SGD`."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """L2 coefficient added to the gradient of the weights and biases, as in `torch.optim.SGD`."""
    batch_size: PositiveInt = 100
    """Images of one step; the last batch of an epoch may be smaller."""
    epochs: PositiveInt = 50
    """Passes over the training part, at most."""
    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    """What early stopping and the choice of the epoch look at, on the validation part."""
    patience: NonNegativeInt = 0
    """Stop after this many epochs in a row without an improvement; 0 never stops early."""
    keep_best_epoch: bool = False
    """End with the weights of the best epoch on validation instead of the last one's."""
    checkpoint_epochs: NonNegativeInt = 10
    """Epochs between checkpoints, from which an interrupted training continues exactly; 0 writes none."""
    threads: PositiveInt = 1
    """Threads of the matrix products; small layers gain nothing from more, and lose on a busy machine."""

    @property
    def chooses(self) -> bool:
        """Whether anything is chosen on the validation part."""
        return self.keep_best_epoch or self.patience > 0


class MLPConfig(TrainingConfig):
    """A multilayer perceptron."""

    hidden_units: tuple[PositiveInt, ...] = (50, 50)
    """Units of each hidden layer, from the input side."""
    activation: Literal["sigmoid", "tanh", "relu"] = "sigmoid"
    """Activation of the hidden layers."""
    loss: Literal["squared_error", "cross_entropy"] = "squared_error"
    """Squared error on one-hot targets behind a sigmoid, or cross-entropy behind a softmax."""
    loss_reduction: Literal["sum", "mean"] = "sum"
    """Whether the squared error is summed (the book) or averaged (`MSELoss`) over the outputs of an image."""
    dropout: Fraction = 0.0
    """Probability with which a hidden unit is left out of a training step."""
    input_dropout: Fraction = 0.0
    """Probability with which an input is left out of a training step."""
    input_range: Literal["symmetric", "unit"] = "symmetric"
    """Pixels scaled to [-1, 1] (the book) or to [0, 1]; dropout learns better where the background is 0."""
    initialisation: Literal["normal", "uniform_fan_in", "glorot_uniform", "he_normal"] = "normal"
    """N(0, 0.1) weights and zero biases (the book), `torch.nn.Linear`'s uniform, Glorot's uniform or He's normal."""
    dtype: Literal["float32", "float64"] = "float32"
    """Number format of weights, activations and gradients."""


class TransferConfig(TrainingConfig):
    """A pretrained network, frozen, with a new last layer."""

    weights: str = "imagenet"
    """`imagenet`, `IMAGENET1K_V2` and such, a .pth or .safetensors file, `models:/NAME@ALIAS`, `bundled`, `random`."""
    head: Literal["sgd", "lbfgs"] = "sgd"
    """How the last layer is trained: by gradient descent, or by logistic regression solved to convergence."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 0.01
    """Step size of the last layer, the largest where a schedule changes it."""
    momentum: Fraction = 0.9
    """Momentum coefficient, as in `torch.optim.SGD`."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """L2 coefficient, as in `torch.optim.SGD`; with `lbfgs` C = 1 / (weight_decay * training images), or 1 for 0."""
    batch_size: PositiveInt = 32
    """Images of one step of the last layer; the last batch of an epoch may be smaller."""
    epochs: PositiveInt = 25
    """Passes over the training part, at most."""
    cache_embeddings: bool = True
    """Compute what enters the last layer once and store it; false runs the whole network in every epoch."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the frozen network is computed in: `float32` is exact, `auto` the fastest here that comes near it."""
    embedding_batch_size: PositiveInt = 32
    """Images that pass through the frozen network at once."""
    embedding_threads: NonNegativeInt = 0
    """Threads of the frozen network; 0 means every core this process may use."""
    augmentation: Literal["none", "flip", "crop_and_flip"] = "none"
    """What is done to training images anew in every epoch: `crop_and_flip` is torchvision's `RandomResizedCrop`."""
    unfreeze_blocks: NonNegativeInt = 0
    """How many blocks of the network, counted from the head's side, are trained with the head."""
    block_learning_rate_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 0.4
    """Step size of each unfrozen block as a part of that of the one above it (Howard & Ruder 2018)."""
    batch_norm: Literal["eval", "train"] = "eval"
    """Mode of BatchNorm in unfrozen blocks: the statistics they came with, or each batch's; `eval` in frozen ones."""
    training_precision: Literal["float32", "bfloat16"] = "float32"
    """Number format of the steps of such a training; `bfloat16` is mixed precision, and nothing is measured in it."""
    processes: NonNegativeInt = 0
    """Processes that share each batch of such a training; 0 means one per GPU, or one where there are not two GPUs."""

    @field_validator("weights")
    @classmethod
    def _make_absolute(cls, weights: str) -> str:
        return make_absolute(weights) if Path(weights).suffix in WEIGHTS_SUFFIXES else weights

    @model_validator(mode="after")
    def _check_fine_tuning(self) -> TransferConfig:
        for field in self._fine_tuning_fields():
            asked = f"transfer.{field} = {getattr(self, field)}"
            if self.cache_embeddings:
                raise ValueError(f"{asked} needs the network in every epoch: set transfer.cache_embeddings=false")
            if self.head != "sgd":
                raise ValueError(f"{asked} is for training step by step: set transfer.head=sgd")
        if self.batch_norm == "train" and not self.unfreeze_blocks:
            raise ValueError("transfer.batch_norm = train is for unfrozen blocks: set transfer.unfreeze_blocks")
        return self

    @property
    def fine_tunes(self) -> bool:
        """Whether training needs more of the network in each epoch than what enters its last layer."""
        return bool(self._fine_tuning_fields())

    def _fine_tuning_fields(self) -> list[str]:
        """Return the fields that ask for it."""
        asked = [name for name, usual in FROZEN_NETWORK.items() if getattr(self, name) != usual]
        return [*asked, "processes"] if self.processes > 1 else asked


class PixelClassifierConfig(PanelConfig):
    """A classifier of the pixels that the MLPs see, fitted in one go."""

    input_range: Literal["symmetric", "unit"] = "symmetric"
    """Pixels scaled to [-1, 1] or to [0, 1]."""


class MostFrequentConfig(PixelClassifierConfig):
    """The most frequent class of the training part, whatever an image shows: the floor that every panel must beat."""


class LogisticRegressionConfig(PixelClassifierConfig):
    """Multinomial logistic regression, solved to convergence."""

    weight_decay: Annotated[float, Field(gt=0.0)] = 1e-3
    """L2 coefficient; scikit-learn's C is 1 / (weight_decay * training images)."""
    max_iterations: PositiveInt = 2000
    """Iterations of the solver (L-BFGS), at most."""


class NearestNeighboursConfig(PixelClassifierConfig):
    """The vote of the nearest training images, by the Euclidean distance of their pixels."""

    monitor: Literal["val_loss", "val_accuracy"] = "val_accuracy"
    """The metric on the validation part that `tune` compares trials by; few neighbours make probabilities coarse."""
    checkpoint_epochs: NonNegativeInt = 0
    """There is nothing to train: 0 stores nothing."""
    neighbours: PositiveInt = 5
    """Training images that vote."""
    vote: Literal["uniform", "distance"] = "uniform"
    """Whether all votes count the same, or each by the inverse of its distance."""


class PanelSections(Section):
    """The section of each kind of panel: a panel is named like its section, `numpy-mlp` for `numpy_mlp`.

    All pretrained networks share the section `transfer`; they have the names of their networks.
    """

    numpy_mlp: MLPConfig = MLPConfig()
    """The network written by hand."""
    torch_mlp: MLPConfig = MLPConfig()
    """The network in PyTorch."""
    transfer: TransferConfig = TransferConfig()
    """The pretrained networks."""
    most_frequent: MostFrequentConfig = MostFrequentConfig()
    """The majority class."""
    logistic_regression: LogisticRegressionConfig = LogisticRegressionConfig()
    """Logistic regression on pixels."""
    nearest_neighbours: NearestNeighboursConfig = NearestNeighboursConfig()
    """Nearest neighbours on pixels."""


KINDS_OF_PANELS = tuple(PanelSections.model_fields)
TRANSFER = "transfer"
KIND_OF_PANEL = {kind.replace("_", "-"): kind for kind in KINDS_OF_PANELS if kind != TRANSFER}
PANEL_NAMES = (*KIND_OF_PANEL, *BACKBONE_NAMES)


def kind_of_panel(panel: str) -> str:
    """Return the kind of a panel, which is also the name of its section.

    >>> kind_of_panel("numpy-mlp"), kind_of_panel("resnet50")
    ('numpy_mlp', 'transfer')
    """
    return KIND_OF_PANEL.get(panel, TRANSFER)

"""The configuration of each kind of panel: every field with its unit, its range and a description."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from triptych.config.fields import Fraction, NonNegativeInt, Number, PositiveInt, Section, make_absolute
from triptych.config.names import (
    BACKBONE_NAMES,
    CUT,
    OWN_WEIGHTS,
    PENULTIMATE,
    REGISTERED,
    TORCHVISION_WEIGHTS,
    WEIGHTS_SUFFIXES,
)
from triptych.errors import suggest

# Settings of the embeddings, which must be the same for all pretrained networks of a board.
EMBEDDING_FIELDS = {"precision", "cache_embeddings", "embedding_batch_size", "embedding_threads"}
# Settings that belong to each network of a panel that combines several.
NETWORK_FIELDS = {"weights", "cut", "pooling"}
# With any other value of these fields, the network changes in training, and a head on stored embeddings is not enough.
FROZEN_NETWORK = {"augmentation": "none", "unfreeze_blocks": 0, "batch_norm": "eval", "training_precision": "float32"}


class PanelConfig(Section):
    """The settings that all panels have."""

    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    """Metric on the validation set by which `tune` compares trials."""
    checkpoint_epochs: NonNegativeInt = 1
    """Epochs between checkpoints; 0 saves nothing, so that every run fits the panel again."""
    threads: PositiveInt = 1
    """Threads of the matrix products."""

    @property
    def chooses(self) -> bool:
        """Whether training chooses anything on the validation set."""
        return False

    @property
    def most_epochs(self) -> int:
        """How many epochs a training lasts at most; a panel that is fitted in one go has one."""
        return 1

    @property
    def fine_tunes(self) -> bool:
        """Whether training changes more of a pretrained network than its last layer."""
        return False


class TrainingConfig(PanelConfig):
    """Minibatch stochastic gradient descent."""

    learning_rate: Annotated[Number, Field(gt=0.0)] = 0.1
    """Initial learning rate."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate decays towards 0 over the epochs: not at all, linearly, or along half a cosine."""
    momentum: Fraction = 0.0
    """Momentum, as in `torch.optim.SGD`."""
    weight_decay: Annotated[Number, Field(ge=0.0)] = 0.0
    """Weight decay (L2, added to the gradient) of weights and biases, as in `torch.optim.SGD`."""
    batch_size: PositiveInt = 100
    """Images per training step; the last batch of an epoch may be smaller."""
    epochs: PositiveInt = 50
    """Maximum number of epochs."""
    monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    """Metric on the validation set for early stopping, for the choice of the epoch, and for `tune`."""
    patience: NonNegativeInt = 0
    """Stop after this many epochs without improvement; 0 never stops early."""
    keep_best_epoch: bool = False
    """Keep the weights of the best epoch on the validation set instead of the last epoch."""
    checkpoint_epochs: NonNegativeInt = 10
    """Epochs between checkpoints, from which an interrupted training resumes exactly; 0 saves none."""
    threads: PositiveInt = 1
    """Threads of the matrix products; small layers are no faster with more."""

    @property
    def most_epochs(self) -> int:
        """How many epochs a training lasts at most."""
        return self.epochs

    @property
    def chooses(self) -> bool:
        """Whether training chooses anything on the validation set."""
        return self.keep_best_epoch or self.patience > 0


class MLPConfig(TrainingConfig):
    """A multilayer perceptron."""

    hidden_units: tuple[PositiveInt, ...] = (50, 50)
    """Units of each hidden layer, first layer first."""
    activation: Literal["sigmoid", "tanh", "relu"] = "sigmoid"
    """Activation of the hidden layers."""
    loss: Literal["squared_error", "cross_entropy"] = "squared_error"
    """Squared error of sigmoid outputs and one-hot targets, or cross-entropy of softmax outputs."""
    loss_reduction: Literal["sum", "mean"] = "sum"
    """Squared error summed (Raschka's book) or averaged (`torch.nn.MSELoss`) over the outputs of an image."""
    dropout: Fraction = 0.0
    """Probability of dropping a hidden unit in a training step."""
    input_dropout: Fraction = 0.0
    """Probability of dropping an input in a training step."""
    input_range: Literal["symmetric", "unit"] = "symmetric"
    """Pixels scaled to [-1, 1] (Raschka's book) or to [0, 1]; dropout works better if the background is 0."""
    initialisation: Literal["normal", "uniform_fan_in", "glorot_uniform", "he_normal"] = "normal"
    """N(0, 0.1) weights and zero biases (Raschka's book), uniform as in `torch.nn.Linear`, Glorot uniform or He
    normal."""
    dtype: Literal["float32", "float64"] = "float32"
    """Dtype of weights, activations and gradients."""
    device: Literal["cpu", "auto"] = "cpu"
    """Where `torch-mlp` is trained; `auto` takes a GPU if there is one."""


class TransferConfig(TrainingConfig):
    """A pretrained network with a new last layer; all other layers are frozen unless fine-tuning is configured."""

    weights: str = "imagenet"
    """`imagenet`, a name such as `IMAGENET1K_V2`, a .pth or .safetensors file, `models:/NAME@ALIAS`, `bundled` or
    `random`."""
    cut: Annotated[str, Field(pattern=f"^{CUT.pattern}$", exclude_if=lambda cut: cut == PENULTIMATE)] = PENULTIMATE
    """Where the network is cut: `penultimate`, before its last layer; `features`, after its last feature map; or at a
    node that torchvision's `get_graph_node_names` lists, such as `features.16`. `vgg16@features.16` is a panel with a
    cut of its own."""
    pooling: Annotated[Literal["average", "max", "flatten"], Field(exclude_if=lambda pooling: pooling == "average")] = (
        "average"
    )
    """How the map at a cut becomes an embedding: its average, its maximum, or all of its values."""
    head: Literal["sgd", "lbfgs"] = "sgd"
    """How the last layer is trained: by gradient descent, or as logistic regression solved to convergence."""
    learning_rate: Annotated[Number, Field(gt=0.0)] = 0.01
    """Initial learning rate of the last layer."""
    momentum: Fraction = 0.9
    """Momentum, as in `torch.optim.SGD`."""
    weight_decay: Annotated[Number, Field(ge=0.0)] = 0.0
    """Weight decay (L2), as in `torch.optim.SGD`; with `lbfgs` not of biases, and 0 means scikit-learn's C = 1."""
    batch_size: PositiveInt = 32
    """Images per training step; the last batch of an epoch may be smaller."""
    epochs: PositiveInt = 25
    """Maximum number of epochs."""
    cache_embeddings: bool = True
    """Compute the inputs of the last layer once and store them; otherwise the whole network runs in every epoch."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the frozen network: `float32` is exact; `auto` is the fastest one here that is close to it."""
    embedding_batch_size: PositiveInt = 32
    """Images that pass through the frozen network at once."""
    embedding_threads: NonNegativeInt = 0
    """Threads of the frozen network; 0 means all cores that this process may use."""
    augmentation: Literal["none", "flip", "crop_and_flip"] = "none"
    """Random changes of the training images in every epoch; `crop_and_flip` is torchvision's `RandomResizedCrop` and a
    horizontal flip."""
    unfreeze_blocks: NonNegativeInt = 0
    """Number of blocks that are trained together with the last layer, counted back from it."""
    block_learning_rate_decay: Annotated[Number, Field(gt=0.0, le=1.0)] = 0.4
    """Learning rate of each unfrozen block as a fraction of that of the next block (Howard & Ruder 2018)."""
    batch_norm: Literal["eval", "train"] = "eval"
    """BatchNorm in unfrozen blocks: `eval` keeps the pretrained statistics, `train` uses those of each batch."""
    training_precision: Literal["float32", "bfloat16"] = "float32"
    """Number format of fine-tuning; `bfloat16` is mixed precision, and metrics are still computed in float32."""
    processes: NonNegativeInt = 0
    """Processes that share each batch of fine-tuning; 0 means one per GPU, or one process without several GPUs."""

    @field_validator("weights")
    @classmethod
    def _make_absolute(cls, weights: str) -> str:
        if Path(weights).suffix in WEIGHTS_SUFFIXES:
            return make_absolute(weights)
        # The folder of a network from Hugging Face; `BoardConfig` has checked it.
        if Path(weights).is_absolute():
            return weights
        # Which names a network has, only torchvision knows; they are in capitals.
        if (
            weights not in OWN_WEIGHTS
            and not weights.startswith(REGISTERED)
            and not TORCHVISION_WEIGHTS.search(weights)
        ):
            raise ValueError(
                f"unknown weights {weights!r}: use {', '.join(OWN_WEIGHTS)}, a name such as IMAGENET1K_V2, "
                f"{REGISTERED}NAME@ALIAS or a file ({', '.join(WEIGHTS_SUFFIXES)}){suggest(weights, OWN_WEIGHTS)}"
            )
        return weights

    @model_validator(mode="after")
    def _check_fine_tuning(self) -> TransferConfig:
        for field in self._fine_tuning_fields():
            setting = f"transfer.{field} = {getattr(self, field)}"
            if self.cache_embeddings:
                raise ValueError(f"{setting} needs the network in every epoch: set transfer.cache_embeddings=false")
            if self.head != "sgd":
                raise ValueError(f"{setting} needs gradient descent: set transfer.head=sgd")
        if self.batch_norm == "train" and not self.unfreeze_blocks:
            raise ValueError("transfer.batch_norm = train needs unfrozen blocks: set transfer.unfreeze_blocks")
        return self

    @property
    def fine_tunes(self) -> bool:
        """Whether training needs the whole network in each epoch, not only the inputs of its last layer."""
        return bool(self._fine_tuning_fields())

    def _fine_tuning_fields(self) -> list[str]:
        """Return the fields that require fine-tuning."""
        fields = [name for name, frozen in FROZEN_NETWORK.items() if getattr(self, name) != frozen]
        return [*fields, "processes"] if self.processes > 1 else fields


class PixelClassifierConfig(PanelConfig):
    """A classifier of the same pixels as the MLPs, fitted without epochs."""

    input_range: Literal["symmetric", "unit"] = "symmetric"
    """Pixels scaled to [-1, 1] or to [0, 1]."""


class MostFrequentConfig(PixelClassifierConfig):
    """The most frequent class of the training set for every image: the baseline that every panel should beat."""


class LogisticRegressionConfig(PixelClassifierConfig):
    """Multinomial logistic regression, solved to convergence."""

    weight_decay: Annotated[Number, Field(gt=0.0)] = 1e-3
    """Weight decay (L2) of the weights, without the biases, as it is added to the mean loss of an image."""
    max_iterations: PositiveInt = 2000
    """Maximum number of iterations of the solver, L-BFGS."""


class NearestNeighboursConfig(PixelClassifierConfig):
    """A vote of the nearest training images by the Euclidean distance of their pixels."""

    monitor: Literal["val_loss", "val_accuracy"] = "val_accuracy"
    """Metric on the validation set by which `tune` compares trials; the loss says little with few neighbours."""
    checkpoint_epochs: NonNegativeInt = 0
    """0 saves no checkpoint, as there is nothing to train."""
    neighbours: PositiveInt = 5
    """Number of training images that vote."""
    vote: Literal["uniform", "distance"] = "uniform"
    """Weights of the votes: all equal, or the inverse of the distance."""


class PanelSections(Section):
    """The section of each kind of panel: `numpy_mlp` is the section of the panel `numpy-mlp`, and so on.

    All pretrained networks share the section `transfer`.
    """

    numpy_mlp: MLPConfig = MLPConfig()
    """The multilayer perceptron written by hand in NumPy."""
    torch_mlp: MLPConfig = MLPConfig()
    """The multilayer perceptron in PyTorch."""
    transfer: TransferConfig = TransferConfig()
    """The pretrained networks."""
    most_frequent: MostFrequentConfig = MostFrequentConfig()
    """The most frequent class."""
    logistic_regression: LogisticRegressionConfig = LogisticRegressionConfig()
    """Logistic regression on pixels."""
    nearest_neighbours: NearestNeighboursConfig = NearestNeighboursConfig()
    """Nearest neighbours on pixels."""


KINDS_OF_PANELS = tuple(PanelSections.model_fields)
TRANSFER = "transfer"
KIND_OF_PANEL = {kind.replace("_", "-"): kind for kind in KINDS_OF_PANELS if kind != TRANSFER}
PANEL_NAMES = (*KIND_OF_PANEL, *BACKBONE_NAMES)


def kind_of_panel(panel: str) -> str:
    """Return the name of a panel's section.

    >>> kind_of_panel("numpy-mlp"), kind_of_panel("resnet50")
    ('numpy_mlp', 'transfer')
    """
    return KIND_OF_PANEL.get(panel, TRANSFER)

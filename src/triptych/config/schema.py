"""The sections of a configuration: every field with its unit, its range and a line that says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from triptych.config.names import BACKBONE_NAMES, WEIGHTS_SUFFIXES
from triptych.errors import suggest

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]

NUMPY_MLP = "numpy-mlp"
TORCH_MLP = "torch-mlp"
PANEL_NAMES = (NUMPY_MLP, TORCH_MLP, *BACKBONE_NAMES)

PanelKind = Literal["numpy_mlp", "torch_mlp", "transfer"]
DATASET_NAMES = ("digits", "mnist", "fashion-mnist", "kmnist", "flowers102")
# What enters the last layers of all pretrained networks of a board is computed by the same settings.
EMBEDDING_FIELDS = {"weights", "precision", "cache_embeddings", "embedding_batch_size", "embedding_threads"}
# Where one of these differs, a head on stored embeddings is not what is asked for.
FROZEN_NETWORK = {"augmentation": "none", "unfreeze_blocks": 0, "batch_norm": "eval", "training_precision": "float32"}
KIND_OF_PANEL: dict[str, PanelKind] = {NUMPY_MLP: "numpy_mlp", TORCH_MLP: "torch_mlp"}


class Section(BaseModel):
    """A part of the configuration: unknown fields are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DataConfig(Section):
    """Which images, and how the networks without a backbone see them."""

    source: str = "digits"
    """`digits`, `mnist`, `fashion-mnist`, `kmnist`, `flowers102`, `idx:DIR`, `folder:DIR` or a directory."""
    thumbnail_pixels: PositiveInt = 32
    """Side of the square that the MLPs see of each photo; arrays (digits, IDX files) keep their own size."""

    @field_validator("source")
    @classmethod
    def _make_absolute(cls, source: str) -> str:
        """Spell a directory out, so that a worker elsewhere and the logged parameter mean the same one."""
        scheme, colon, directory = source.partition(":")
        if colon:
            return f"{scheme}:{_absolute(directory)}"
        return f"folder:{_absolute(source)}" if source and source not in DATASET_NAMES else source


class SplitConfig(Section):
    """How the images are divided; every panel of the board uses the same division."""

    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.3
    """Fraction of all images held back for the one final test, stratified by class."""
    validation_fraction: Fraction = 0.2
    """Fraction of the training part set aside for everything that is chosen; 0 means that nothing is chosen."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the division."""
    keep_own_parts: bool = True
    """Use the train, validation and test parts that the data set itself comes with, where it has them."""


class TrainingConfig(Section):
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
        return _absolute(weights) if Path(weights).suffix in WEIGHTS_SUFFIXES else weights

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


class EvaluateConfig(Section):
    """How a trained panel is measured."""

    calibration_bins: PositiveInt = 15
    """Equal-width confidence bins of the expected calibration error."""
    confidence_level: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95
    """Level of the intervals."""
    probe_images: PositiveInt = 32
    """Images on which a logged model, loaded back, must repeat its trainer's probabilities; also timed."""
    compare_twins: bool = False
    """Log after every epoch how far the weights of `torch-mlp` are from those of `numpy-mlp`, its twin."""


class BoardConfig(Section):
    """One data set with one split, and the panels that compete on it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")] = "digits"
    """Name of the board, and of its MLflow experiment."""
    panels: Annotated[tuple[str, ...], Field(min_length=1)] = (NUMPY_MLP, TORCH_MLP)
    """The models: `numpy-mlp`, `torch-mlp`, or a torchvision classification network by name."""
    repeats: PositiveInt = 1
    """How often each panel is trained, with seeds 0, 1, ..., always from its original weights."""
    pools: dict[str, str] = {}
    """Prefect's work pool that trains a panel, or a kind of panel (`numpy_mlp`, `torch_mlp`, `transfer`), such as
    `{transfer: gpu}`; the others are trained where the flow runs."""
    data: DataConfig = DataConfig()
    """Which images."""
    split: SplitConfig = SplitConfig()
    """How they are divided."""
    numpy_mlp: MLPConfig = MLPConfig()
    """The network written by hand."""
    torch_mlp: MLPConfig = MLPConfig()
    """The network in PyTorch."""
    transfer: TransferConfig = TransferConfig()
    """The pretrained networks."""
    networks: dict[str, dict[str, Any]] = {}
    """Fields of single pretrained networks, laid over `transfer`, such as `{resnet50: {learning_rate: 0.003}}`."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How the results are measured."""

    @model_validator(mode="after")
    def _check_panels(self) -> BoardConfig:
        for panel in self.panels:
            if panel not in PANEL_NAMES:
                raise ValueError(
                    f"unknown panel {panel!r}: a panel is {NUMPY_MLP}, {TORCH_MLP} or a torchvision "
                    f"classification network such as resnet50{suggest(panel, PANEL_NAMES)}"
                )
        if len(set(self.panels)) < len(self.panels):
            raise ValueError(f"panels {list(self.panels)} name one panel twice: name each once, and use repeats")
        return self

    @model_validator(mode="after")
    def _check_networks(self) -> BoardConfig:
        for panel, fields in self.networks.items():
            if panel not in BACKBONE_NAMES:
                raise ValueError(
                    f"networks names {panel!r}, which is no pretrained network: name one such as resnet50"
                    f"{suggest(panel, BACKBONE_NAMES)}"
                )
            for field in set(fields) & EMBEDDING_FIELDS:
                raise ValueError(f"networks.{panel}.{field} is the same for all networks: set transfer.{field}")
            self.for_panel(panel)
        return self

    @model_validator(mode="after")
    def _check_pools(self) -> BoardConfig:
        kinds = get_args(PanelKind)
        for name, pool in self.pools.items():
            if name not in {*kinds, *self.panels}:
                raise ValueError(
                    f"pools names {name!r}, which is no panel of this board: name one of {', '.join(self.panels)}, or "
                    f"all of a kind by {', '.join(kinds)}{suggest(name, [*kinds, *self.panels])}"
                )
            if not pool:
                raise ValueError(f"pools.{name} is empty: name a work pool of Prefect's, or leave {name} out")
        return self

    def find_pool(self, panel: str) -> str | None:
        """Return the work pool that trains a panel; None where it is trained in the flow's own process."""
        return self.pools.get(panel, self.pools.get(kind_of_panel(panel)))

    def for_panel(self, panel: str) -> BoardConfig:
        """Return the configuration that one panel is trained by, with its own fields laid over its section."""
        if panel not in self.networks:
            return self
        try:
            section = TransferConfig.model_validate(self.transfer.model_dump() | self.networks[panel])
        except ValidationError as error:
            raise ValueError(f"networks.{panel}: {describe_first_error(TransferConfig, error)}") from error
        return self.model_copy(update={"transfer": section})

    @property
    def backbone_panels(self) -> tuple[str, ...]:
        """The panels that stand on a pretrained network."""
        return tuple(panel for panel in self.panels if kind_of_panel(panel) == "transfer")

    def flat(self) -> dict[str, Any]:
        """Return every field as `section.field: value`, for MLflow's parameters."""
        fields: dict[str, Any] = {}
        for name, value in self.model_dump(mode="json").items():
            fields |= {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
        return fields


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def kind_of_panel(panel: str) -> PanelKind:
    """Return which trainer a panel needs, which is also its section of the configuration.

    >>> kind_of_panel("numpy-mlp"), kind_of_panel("resnet50")
    ('numpy_mlp', 'transfer')
    """
    return KIND_OF_PANEL.get(panel, "transfer")


def describe_first_error(model: type[Section], error: ValidationError) -> str:
    """Return the first thing wrong, as "field: value, rule"."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        return _describe_unknown_field(model, path)
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    rule = first["msg"][0].lower() + first["msg"][1:]
    return f"{'.'.join(path)} = {first['input']!r} is not allowed: {rule}"


def _describe_unknown_field(model: type[Section], path: list[str]) -> str:
    owner: Any = model
    for part in path[:-1]:
        owner = owner.model_fields[part].annotation
    fields = list(owner.model_fields)
    return f"unknown field {'.'.join(path)!r}: the fields there are {', '.join(fields)}{suggest(path[-1], fields)}"


SECTION_NAMES = tuple(name for name, field in BoardConfig.model_fields.items() if isinstance(field.default, Section))

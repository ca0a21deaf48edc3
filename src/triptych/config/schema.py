"""The sections of a configuration: every field with its unit, its range and a line that says what it is."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from triptych.config.fields import Fraction, PositiveInt, Section, describe_first_error, make_absolute
from triptych.config.names import BACKBONE_NAMES, DATASET_NAMES, NUMPY_MLP, TORCH_MLP
from triptych.config.trainers import (
    EMBEDDING_FIELDS,
    KINDS_OF_PANELS,
    PANEL_NAMES,
    TRANSFER,
    PanelConfig,
    PanelSections,
    TransferConfig,
    kind_of_panel,
)
from triptych.errors import suggest


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
            return f"{scheme}:{make_absolute(directory)}"
        return f"folder:{make_absolute(source)}" if source and source not in DATASET_NAMES else source


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


class EvaluateConfig(Section):
    """How a trained panel is measured."""

    calibration_bins: PositiveInt = 15
    """Equal-width confidence bins of the expected calibration error."""
    confidence_level: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95
    """Level of the intervals."""
    reference_images: PositiveInt = 32
    """Images on which a logged model, loaded back, must repeat its trainer's probabilities; also timed."""
    compare_twins: bool = False
    """Log after every epoch how far the weights of `torch-mlp` are from those of `numpy-mlp`, its twin."""


class BoardSettings(Section):
    """What a board's configuration says beside how each panel is trained."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")] = "digits"
    """Name of the board, and of its MLflow experiment."""
    panels: Annotated[tuple[str, ...], Field(min_length=1)] = (NUMPY_MLP, TORCH_MLP)
    """The models: `numpy-mlp`, `torch-mlp`, or a torchvision classification network by name."""
    repeats: PositiveInt = 1
    """How often each panel is trained, with seeds 0, 1, ..., always from its original weights."""
    pools: dict[str, str] = Field(default_factory=dict)
    """Prefect's work pool that trains a panel, or a kind of panel (`numpy_mlp`, `torch_mlp`, `transfer`), such as
    `{transfer: gpu}`; the others are trained where the flow runs."""
    data: DataConfig = DataConfig()
    """Which images."""
    split: SplitConfig = SplitConfig()
    """How they are divided."""
    networks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Fields of single pretrained networks, laid over `transfer`, such as `{resnet50: {learning_rate: 0.003}}`."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How the results are measured."""


class BoardConfig(PanelSections, BoardSettings):
    """One data set with one split, and the panels that compete on it."""

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
        kinds = KINDS_OF_PANELS
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

    def settings_of(self, panel: str) -> PanelConfig:
        """Return the section that a panel is trained by, with its own fields laid over it."""
        settings: PanelConfig = getattr(self.for_panel(panel), kind_of_panel(panel))
        return settings

    @property
    def backbone_panels(self) -> tuple[str, ...]:
        """The panels that stand on a pretrained network."""
        return tuple(panel for panel in self.panels if kind_of_panel(panel) == TRANSFER)

    def flat(self) -> dict[str, Any]:
        """Return every field as `section.field: value`, for MLflow's parameters."""
        fields: dict[str, Any] = {}
        for name, value in self.model_dump(mode="json").items():
            fields |= {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
        return fields


SECTION_NAMES = tuple(name for name, field in BoardConfig.model_fields.items() if isinstance(field.default, Section))

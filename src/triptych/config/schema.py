"""The configuration of a board: every field with its unit, its range and a description."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from triptych.config.fields import Fraction, Integer, Number, PositiveInt, Section, describe_first_error, make_absolute
from triptych.config.names import (
    BACKBONE_NAMES,
    COMBINED_MARK,
    CUT,
    CUT_MARK,
    DATASET_NAMES,
    HUGGING_FACE,
    LAYOUT_NAMES,
    NUMPY_MLP,
    TABLE_SUFFIXES,
    TIMM,
    TORCH_MLP,
    WEIGHTS_SUFFIXES,
    is_backbone,
    list_parts,
    name_network,
    spell_safely,
)
from triptych.config.networks import check_timm, name_folders
from triptych.config.trainers import (
    EMBEDDING_FIELDS,
    KIND_OF_PANEL,
    KINDS_OF_PANELS,
    NETWORK_FIELDS,
    PANEL_NAMES,
    TRANSFER,
    PanelConfig,
    PanelSections,
    TransferConfig,
    kind_of_panel,
)
from triptych.errors import ConfigError, suggest

NO_GROUPS, SIMILAR, GROUP = "none", "similar", "group"
# With `name:REGEX`, what `split.group_by` may be.
GROUPINGS = (NO_GROUPS, "folder", "minute", SIMILAR, GROUP)
MOST_REPEATS, MOST_BINS, MOST_FOLDS = 10_000, 10_000, 100
# What a column of a table says of an image.
COLUMN_ROLES = ("path", "label", "split", "group", "weight")
# Names of models, folders and lock files begin with that of the board.
MOST_CHARACTERS = 120


def _is_path(text: str) -> bool:
    """Return whether a text with a colon is meant as a path, not as a layout and a path."""
    return os.sep in text.partition(":")[0] or Path(make_absolute(text)).exists()


class DataConfig(Section):
    """The images."""

    source: str = "digits"
    """`digits`, `mnist`, `fashion-mnist`, `kmnist`, `cifar10`, `flowers102`, `oxford-pets`, `emnist-letters` or another
    division of EMNIST; `idx:DIR`, `folder:DIR` or a directory; `table:FILE` or a CSV, TSV, Parquet or JSON-lines file;
    `table:DIR` for a folder with `metadata.csv`."""
    thumbnail_pixels: PositiveInt = 32
    """Side of the square thumbnails of photos for panels without a backbone; digits and IDX data keep their size."""
    white_level: Annotated[PositiveInt, Field(le=2**16 - 1)] | None = None
    """The value of 16-bit grey images that is white, such as 4095 for 12 bits; a file that says so itself goes first.
    None means 65535, and refuses images that would then be nearly black."""
    path_column: str = ""
    """Column of a table with the path of each image; empty means the one with a usual name, such as `file_name`."""
    label_column: str = ""
    """Column with the label of each image; empty means `label`, `class`, `category` or `target`."""
    split_column: str = ""
    """Column with the part of each image, train, val or test; empty means `split`, `part`, `subset`, `set` or `phase`,
    `none` leaves it out."""
    group_column: str = ""
    """Column with the group of each image for `split.group_by=group`; empty means `group`, `none` leaves it out."""
    weight_column: str = ""
    """Column with the weight of each training image in the loss; empty means `weight`, `none` leaves it out."""

    @field_validator("source")
    @classmethod
    def _make_absolute(cls, source: str) -> str:
        """Make a directory absolute, so that workers and logged parameters refer to the same one.

        A path may hold a colon, as in `10:30/photos`; `idx:DIR` is a path only if it does not begin with a layout.
        """
        layout, colon, directory = source.partition(":")
        if colon and layout in LAYOUT_NAMES:
            return f"{layout}:{make_absolute(directory)}"
        if source in DATASET_NAMES or not source or (colon and not _is_path(source)):
            return source
        path = make_absolute(source)
        is_table = Path(path).suffix.lower() in TABLE_SUFFIXES and not Path(path).is_dir()
        return f"{'table' if is_table else 'folder'}:{path}"

    @property
    def columns(self) -> dict[str, str]:
        """The columns of a table that are named, by what they say: "path", "label", "split", "group" or "weight"."""
        fields = self.model_dump()
        return {role: name for role in COLUMN_ROLES if (name := fields[f"{role}_column"])}


class SplitConfig(Section):
    """How the images are split; every panel of the board uses the same split."""

    test_fraction: Annotated[Number, Field(gt=0.0, lt=1.0)] = 0.3
    """Fraction of all images held out for the final test: exactly and stratified by class for a fixed data set, in
    expectation for a folder."""
    validation_fraction: Fraction = 0.2
    """Fraction of the remaining images held out for choosing epochs, settings and champions; 0 means no choices."""
    seed: Annotated[Integer, Field(ge=0, lt=2**32)] = 0
    """Seed of the split."""
    group_by: str = NO_GROUPS
    """Images that stay together in one part: `none`; `similar`, images that look alike; `minute`, photos of one minute
    by their EXIF time; `folder`, photos in one folder below that of the class; `group`, images with one value in the
    table's column of groups; or `name:REGEX`, files in whose names, without suffix, the expression matches or captures
    the same, such as `name:(.+)_\\d+`."""
    keep_own_parts: bool = True
    """Use the data set's own train, validation and test parts, if it has any."""
    folds: Annotated[Integer, Field(ge=0, le=MOST_FOLDS)] = 0
    """Cross-validation, for small data sets: each panel is trained on all folds but one, which tests it, so that each
    image is tested once in each repeat; 0 draws one test set instead."""

    @field_validator("folds")
    @classmethod
    def _check_folds(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("split.folds = 1 is not allowed: set 2 or more, or 0 for one test set")
        return folds

    @field_validator("group_by")
    @classmethod
    def _check_grouping(cls, group_by: str) -> str:
        kind, colon, expression = group_by.partition(":")
        if group_by in GROUPINGS:
            return group_by
        if (kind, colon) != ("name", ":") or not expression:
            raise ValueError(
                f"split.group_by = {group_by!r} is not allowed: use {', '.join(GROUPINGS)} or name:REGEX, such as "
                f"name:(.+)_\\d+{suggest(group_by, GROUPINGS)}"
            )
        try:
            re.compile(expression)
        except re.error as error:
            raise ValueError(f"split.group_by = {group_by!r} has no regular expression: {error}") from error
        return group_by


class EvaluateConfig(Section):
    """How trained panels are evaluated."""

    calibration_bins: Annotated[PositiveInt, Field(le=MOST_BINS)] = 15
    """Number of equal-width confidence bins of the expected calibration error."""
    confidence_level: Annotated[Number, Field(gt=0.0, lt=1.0)] = 0.95
    """Confidence level of all intervals."""
    reference_images: PositiveInt = 32
    """Number of images for which a logged model must repeat its trainer's probabilities; also used for timing."""
    compare_twins: bool = False
    """Log after every epoch how far the weights of `torch-mlp` are from those of its twin, `numpy-mlp`."""
    ensemble: bool = True
    """Average the probabilities of the panels, with weights chosen on the validation set, and compare the result with
    the panel that is best there."""


class PromoteConfig(Section):
    """The rule by which a challenger replaces the champion."""

    rule: Literal["better", "not-worse-and-cheaper"] = "better"
    """`better`: only if it is shown to be more accurate; `not-worse-and-cheaper`: also if it is shown to be less
    accurate by less than `margin`, and costs at least a tenth less."""
    margin: Annotated[Number, Field(gt=0.0, lt=1.0)] = 0.01
    """Loss of accuracy that does not matter, as a fraction."""
    cost: Literal["predict_seconds", "parameters", "model_mebibytes"] = "predict_seconds"
    """What has to be less: the measured time for an image, the number of parameters, or the size of the files."""
    approval: bool = False
    """Pause the flow run until somebody approves the promotion on Prefect's page."""
    approval_hours: Annotated[Number, Field(gt=0.0, le=720.0)] = 12.0
    """How long the flow run waits for that; then the champion stays."""


class BoardSettings(Section):
    """The settings of a board other than those of its panels."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=MOST_CHARACTERS)] = "digits"
    """Name of the board and of its MLflow experiment."""
    panels: Annotated[tuple[str, ...], Field(min_length=1)] = (NUMPY_MLP, TORCH_MLP)
    """The panels: `numpy-mlp`, `torch-mlp`, `logistic-regression`, `nearest-neighbours`, `most-frequent`, or the name
    of a torchvision classification network, perhaps with its cut, as in `vgg16@features`; `timm:NAME` is a network of
    timm, and `hf:DIR` that of a Hugging Face folder. `vgg16+resnet50` trains one head on the embeddings of both
    networks side by side, standardised on the training images."""
    repeats: Annotated[PositiveInt, Field(le=MOST_REPEATS)] = 1
    """How many times each panel is trained, with seeds 0, 1, ..., each time from its initial weights."""
    class_weights: Literal["none", "balanced"] = "none"
    """How much an image counts in training: `none`, all alike; `balanced`, in inverse proportion to the images of its
    class, so that all classes count alike. Validation and test count every image once."""
    pools: dict[str, str] = Field(default_factory=dict)
    """Prefect work pools that train a panel or a kind of panel, such as `{resnet50: gpu}` or `{transfer: gpu}`; all
    other panels are trained where the flow runs."""
    data: DataConfig = DataConfig()
    """The images of the board."""
    split: SplitConfig = SplitConfig()
    """How the images are split."""
    networks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Fields that override `transfer` for single networks, such as `{resnet50: {weights: resnet50.safetensors}}`; those
    of a panel with a cut come before those of its network."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How the trained panels of the board are evaluated."""
    promote: PromoteConfig = PromoteConfig()
    """When a challenger replaces the champion of the board."""


def check_panel(panel: str) -> None:
    """Check the name of a panel.

    Raises:
        ConfigError: there is no such panel.

    >>> check_panel("resnet5")
    Traceback (most recent call last):
    triptych.errors.ConfigError: unknown panel 'resnet5': a panel is numpy-mlp, torch-mlp, most-frequent, \
logistic-regression, nearest-neighbours or a torchvision classification network, timm:NAME or hf:DIR; \
did you mean 'resnet50'?
    """
    if "," in panel:
        raise ConfigError(
            f"{panel!r} is not one panel: repeat the option, as --panel {' --panel '.join(panel.split(','))}"
        )
    parts = list_parts(panel)
    for part in parts:
        _check_part(part, PANEL_NAMES if len(parts) == 1 else BACKBONE_NAMES)
    if len(set(parts)) < len(parts):
        raise ConfigError(f"panel {panel!r} combines a network with itself: name each once")


def _check_part(part: str, names: Sequence[str]) -> None:
    """Check the name of a panel that combines no others."""
    if part.startswith(HUGGING_FACE) and os.sep in part:
        return  # checked when it gets the name of its folder
    network, mark, cut = part.partition(CUT_MARK)
    names = BACKBONE_NAMES if mark else names
    if network.startswith(TIMM):
        check_timm(network)
    elif network not in names and not network.startswith(HUGGING_FACE):
        others = "" if names == BACKBONE_NAMES else f"{', '.join(KIND_OF_PANEL)} or "
        kind = f"a network to combine is {others}" if names == BACKBONE_NAMES else f"a panel is {others}"
        raise ConfigError(
            f"unknown panel {part!r}: {kind}a torchvision classification network, timm:NAME or hf:DIR"
            f"{suggest(part, [f'{name}{mark}{cut}' for name in names])}"
        )
    if mark and not CUT.fullmatch(cut):
        raise ConfigError(f"panel {part!r} has no cut behind {CUT_MARK}: write {network}@features, for instance")


def _normalise_weights(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the field `weights` with an absolute path, if it is there; a wrong one is refused later."""
    weights = fields.get("weights")
    is_file = isinstance(weights, str) and Path(weights).suffix in WEIGHTS_SUFFIXES
    return {"weights": make_absolute(str(weights))} if is_file else {}


class BoardConfig(PanelSections, BoardSettings):
    """One data set with one split, and the panels that compete on it.

    >>> board = BoardConfig(panels=("numpy-mlp", "resnet50"), networks={"resnet50": {"epochs": 3}})
    >>> board.settings_of("numpy-mlp").hidden_units, board.settings_of("resnet50").epochs
    ((50, 50), 3)
    """

    @model_validator(mode="before")
    @classmethod
    def _name_folders(cls, fields: Any) -> Any:
        """Let folders of Hugging Face be panels by their names, with their paths as weights."""
        return name_folders(fields) if isinstance(fields, dict) else fields

    @model_validator(mode="after")
    def _check_panels(self) -> BoardConfig:
        for panel in self.panels:
            check_panel(panel)
        cuts = {part: self._find_own(part).get("cut", self.transfer.cut) for part in self.backbone_parts}
        networks = {
            frozenset((name_network(part), cuts.get(part)) for part in list_parts(panel)) for panel in self.panels
        }
        for panel in self.panels:
            parts = list_parts(panel)
            if len({(name_network(part), cuts.get(part)) for part in parts}) < len(parts):
                raise ValueError(f"panel {panel!r} combines a network with itself: name each cut of it once")
        if len(networks) < len(self.panels):
            raise ValueError(f"panels {list(self.panels)} name one panel twice: name each once, and use repeats")
        spelt = {spell_safely(panel): panel for panel in self.panels}
        if alike := [panel for panel in self.panels if spelt[spell_safely(panel)] != panel]:
            other = spelt[spell_safely(alike[0])]
            raise ValueError(f"panels {alike[0]!r} and {other!r} are spelt alike in MLflow: use them in two boards")
        for panel in self.panels:
            if COMBINED_MARK in panel and not self.transfer.cache_embeddings:
                raise ValueError(f"panel {panel!r} needs stored embeddings: set transfer.cache_embeddings=true")
        return self

    @field_validator("networks")
    @classmethod
    def _make_absolute(cls, networks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {panel: fields | _normalise_weights(fields) for panel, fields in networks.items()}

    @model_validator(mode="after")
    def _check_networks(self) -> BoardConfig:
        spelt = {frozenset(list_parts(panel)): panel for panel in self.panels}
        for panel, fields in self.networks.items():
            parts = list_parts(panel)
            if (other := spelt.get(frozenset(parts), panel)) != panel:
                raise ValueError(f"networks has {panel!r}, but the panel is {other!r}: set networks.{other}")
            for part in parts:
                if part.startswith(HUGGING_FACE) and os.sep in part:
                    raise ValueError(
                        f"networks has {part!r}, but a folder is named by the last part of its path there: set "
                        f"networks.{HUGGING_FACE}{Path(part).name}"
                    )
                if not is_backbone(name_network(part)):
                    raise ValueError(
                        f"networks has {part!r}, which is not a pretrained network: use a name such as resnet50"
                        f"{suggest(part, BACKBONE_NAMES)}"
                    )
            for field in sorted(set(fields) & NETWORK_FIELDS) if len(parts) > 1 else ():
                raise ValueError(f"networks.{panel}.{field} belongs to one network: set networks.{parts[0]}.{field}")
            for field in sorted(set(fields) & EMBEDDING_FIELDS):
                raise ValueError(f"networks.{panel}.{field} must be the same for all networks: set transfer.{field}")
            self.for_panel(panel)
        return self

    @model_validator(mode="after")
    def _check_folds(self) -> BoardConfig:
        fine_tuned = [panel for panel in self.panels if self.settings_of(panel).fine_tunes]
        if self.split.folds and fine_tuned:
            raise ValueError(
                f"split.folds = {self.split.folds} is for panels that train in seconds, but {fine_tuned[0]} is "
                f"fine-tuned: set split.folds=0, or leave out what fine-tunes it"
            )
        return self

    @model_validator(mode="after")
    def _check_pools(self) -> BoardConfig:
        kinds = KINDS_OF_PANELS
        for name, pool in self.pools.items():
            if name not in {*kinds, *self.panels}:
                raise ValueError(
                    f"pools has {name!r}, which is not a panel of this board: use one of {', '.join(self.panels)}, or "
                    f"a kind of panel, {', '.join(kinds)}{suggest(name, [*kinds, *self.panels])}"
                )
            if not pool:
                raise ValueError(f"pools.{name} is empty: name a Prefect work pool, or leave {name} out")
        return self

    def find_pool(self, panel: str) -> str | None:
        """Return the work pool that trains a panel; None if it is trained in the flow's own process."""
        return self.pools.get(panel, self.pools.get(kind_of_panel(panel)))

    def for_panel(self, panel: str) -> BoardConfig:
        """Return the configuration with which a panel is trained: its own fields override the section `transfer`."""
        own = self._find_own(panel)
        if not own:
            return self
        try:
            section = TransferConfig.model_validate(self.transfer.model_dump() | own)
        except ValidationError as error:
            raise ValueError(f"networks.{panel}: {describe_first_error(TransferConfig, error)}") from error
        return self.model_copy(update={"transfer": section})

    def _find_own(self, panel: str) -> dict[str, Any]:
        """Return the fields of a panel that override the section `transfer`: its own before those of its network."""
        if COMBINED_MARK in panel:
            return self.networks.get(panel, {})
        network, _, cut = panel.partition(CUT_MARK)
        own = self.networks.get(network, {}) | self.networks.get(panel, {})
        return own | {"cut": cut} if cut else own

    def settings_of(self, panel: str) -> PanelConfig:
        """Return the section with which a panel is trained, overridden by its own fields."""
        settings: PanelConfig = getattr(self.for_panel(panel), kind_of_panel(panel))
        return settings

    @property
    def backbone_panels(self) -> tuple[str, ...]:
        """The panels with a pretrained network."""
        return tuple(panel for panel in self.panels if kind_of_panel(panel) == TRANSFER)

    @property
    def backbone_parts(self) -> tuple[str, ...]:
        """The panels whose networks they need: themselves, or those that they combine."""
        return tuple(dict.fromkeys(part for panel in self.backbone_panels for part in list_parts(panel)))

    def select_networks(self, panel: str) -> dict[str, dict[str, Any]]:
        """Return the fields of the networks that a panel combines; none of any other panel.

        >>> board = BoardConfig(networks={"vgg16": {"weights": "random"}, "resnet50": {"epochs": 3}})
        >>> board.select_networks("vgg16@features+resnet18"), board.select_networks("vgg16")
        ({'vgg16': {'weights': 'random'}}, {})
        """
        parts = list_parts(panel)
        combined = {*parts, *map(name_network, parts)} if len(parts) > 1 else set()
        return {name: fields for name, fields in self.networks.items() if name in combined}

    def list_weights(self, panel: str) -> list[str]:
        """Return the weights of a panel's networks, as configured.

        >>> BoardConfig(networks={"vgg16": {"weights": "random"}}).list_weights("resnet18+vgg16@features")
        ['imagenet', 'random']
        """
        return [self.for_panel(part).transfer.weights for part in list_parts(panel)]

    def flat(self) -> dict[str, Any]:
        """Return every field as `section.field: value`, as MLflow's parameters need it."""
        fields: dict[str, Any] = {}
        for name, value in self.model_dump(mode="json").items():
            if isinstance(value, dict):
                # Names of networks may have marks that MLflow doesn't take.
                fields |= {f"{name}.{spell_safely(key)}": v for key, v in value.items()}
            else:
                fields[name] = value
        return fields


SECTION_NAMES = tuple(name for name, field in BoardConfig.model_fields.items() if isinstance(field.default, Section))

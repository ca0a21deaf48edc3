"""Resolve a configuration: a preset with any field overridden, checked before anything runs."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import Field, ValidationError, field_validator

from triptych.config.fields import Section, describe_first_error
from triptych.config.names import DATASET_NAMES, TABLE_SUFFIXES, is_backbone, list_parts, name_network
from triptych.config.numbers import read_yaml
from triptych.config.presets import DEFAULT_PRESET, FOLDER_PRESET, PRESETS
from triptych.config.schema import BoardConfig, BoardSettings, DataConfig, check_panel
from triptych.errors import ConfigError, suggest

# The section that has fields of each network.
NETWORKS = "networks"
MOST_CHARACTERS_OF_A_FOLDER = 60
Overrides = dict[str, Any]
Model = TypeVar("Model", bound=Section)


class Config(Section):
    """The configuration of one comparison: the boards of a preset, with any field overridden."""

    preset: str = DEFAULT_PRESET
    """Name of the preset: digits, report, matched, strong or photos."""
    data: str = ""
    """Name of a data set, a directory with one folder of images per class or a table; empty means the preset's."""
    boards: tuple[BoardConfig, ...] = Field(default=(), validate_default=True)
    """The boards; panels are compared only within a board. Empty means the preset's boards."""
    fresh: bool = False
    """Train every panel, even if a result of the same training is on disk."""
    tuned: bool = False
    """Use the best settings of finished studies, for every panel that has one on the same board and split."""

    @property
    def title(self) -> str:
        """The board, or the preset of several, as the names of flow runs have it."""
        return self.boards[0].name if len(self.boards) == 1 else self.preset

    @property
    def panel_names(self) -> str:
        """All panels, separated by commas."""
        return ", ".join(dict.fromkeys(panel for board in self.boards for panel in board.panels))

    @field_validator("preset")
    @classmethod
    def _check_preset(cls, preset: str) -> str:
        if preset not in PRESETS:
            raise ValueError(
                f"unknown preset {preset!r}: the presets are {', '.join(PRESETS)}{suggest(preset, PRESETS)}"
            )
        return preset

    @field_validator("boards")
    @classmethod
    def _fill_from_preset(cls, boards: tuple[BoardConfig, ...], info: Any) -> tuple[BoardConfig, ...]:
        if boards or "preset" not in info.data:
            return boards
        preset, data = info.data["preset"], info.data["data"]
        return _choose_data(preset, PRESETS[preset].boards, data, ()) if data else PRESETS[preset].boards


def resolve_config(
    preset: str | None = None,
    *,
    data: str | None = None,
    panels: Sequence[str] = (),
    settings: Sequence[str] = (),
    file: Path | None = None,
) -> Config:
    """Return a preset with overrides; `settings` take precedence over `data` and `panels`, and those over the file.

    Args:
        preset: name of the preset; None means the file's, or else `photos` for a directory, or else `digits`.
        data: a data set or a directory, which replaces the preset's.
        panels: the panels, which replace the preset's; a board without any of them is dropped.
        settings: `[BOARD.]section.field=value` strings, the value in YAML.
        file: a YAML file with `preset`, any sections (for all boards), and `boards: {NAME: sections}`.

    Raises:
        ConfigError: a name is unknown or a value is not allowed; the message is one line.

    >>> config = resolve_config("digits", panels=["numpy-mlp"], settings=["numpy_mlp.epochs=5"])
    >>> config.boards[0].panels, config.boards[0].numpy_mlp.epochs
    (('numpy-mlp',), 5)
    """
    from_file = _read_file(file) if file else {}
    named = from_file.pop("preset", None)
    name = preset or named or (FOLDER_PRESET if _is_folder(data) else DEFAULT_PRESET)
    boards = _validate(Config, {"preset": name}).boards
    for_all, for_one = _split_by_board(from_file, settings, {board.name for board in boards})
    boards = _choose_panels(boards, panels)
    boards = tuple(_override(board, for_all, for_one.get(board.name, {})) for board in boards)
    return Config(preset=name, boards=_choose_data(name, boards, data, settings))


def resolve_data(data: str, settings: Sequence[str]) -> BoardSettings:
    """Return the sections `data` and `split` for a data set, overridden by `section.field=value` strings.

    Raises:
        ConfigError: a setting is of another section, or not allowed.

    >>> resolve_data("digits", ["data.label_column=species"]).data.columns
    {'label': 'species'}
    """
    for_all, _ = _split_by_board({}, settings, set())
    if others := set(for_all) - {"data", "split"}:
        raise ConfigError(f"--set {min(others)} concerns no data: set fields such as data.label_column or split.seed")
    return _validate(BoardSettings, _merge({"data": {"source": data}}, for_all))


def _is_folder(data: str | None) -> bool:
    return data is not None and data not in DATASET_NAMES and not data.startswith("idx:")


def _choose_panels(boards: tuple[BoardConfig, ...], panels: Sequence[str]) -> tuple[BoardConfig, ...]:
    """Replace the panels of each board; a pretrained network goes only to boards with pretrained networks.

    Likewise, a panel on pixels goes only to boards with panels on pixels.
    """
    if not panels:
        return boards
    for panel in panels:
        check_panel(panel)
    chosen = []
    for board in boards:
        pretrained = {_is_pretrained(panel) for panel in board.panels}
        fitting = tuple(panel for panel in dict.fromkeys(panels) if _is_pretrained(panel) in pretrained)
        if fitting:
            chosen.append(board.model_copy(update={"panels": fitting}))
    if not chosen:
        raise ConfigError(
            f"no board of this preset has a panel like {', '.join(panels)}: choose another preset or panel"
        )
    return tuple(chosen)


def _is_pretrained(panel: str) -> bool:
    return is_backbone(name_network(list_parts(panel)[0]))


def _choose_data(
    preset: str, boards: tuple[BoardConfig, ...], data: str | None, settings: Sequence[str]
) -> tuple[BoardConfig, ...]:
    if data is None:
        for board in boards:
            if not board.data.source:
                raise ConfigError(f"preset {preset!r} comes without images: name a folder with --data DIR")
        return boards
    if any(setting.partition("=")[0].strip().endswith("data.source") for setting in settings):
        raise ConfigError(f"--data {data} and --set data.source both name the data: keep one")
    if len(boards) > 1:
        names = ", ".join(board.name for board in boards)
        raise ConfigError(
            f"--data {data} is one data set, but preset {preset!r} has the boards {names}: select one board with "
            f"--panel, or set the data of each with --set BOARD.data.source=..."
        )
    board = boards[0]
    section = _validate(DataConfig, board.data.model_dump() | {"source": data})
    if section == board.data:
        return boards
    # A name that was set is kept.
    if board.name not in {one.name for one in PRESETS[preset].boards}:
        return (board.model_copy(update={"data": section}),)
    return (board.model_copy(update={"name": f"{board.name}-{name_source(section.source)}", "data": section}),)


def name_source(source: str) -> str:
    """Return a data source in a form that fits into a board's name.

    A hash of the path tells folders and tables apart that have the same name, or the same but for letters that the name
    lacks.

    >>> name_source("folder:/home/ann/My Photos"), name_source("table:/birds.csv"), name_source("fashion-mnist")
    ('my-photos-066185', 'birds-3cfbe2', 'fashion-mnist')
    """
    _, is_folder, path = source.partition(":")
    name = Path(path or source).name.lower()
    name = name.removesuffix(next((suffix for suffix in TABLE_SUFFIXES if name.endswith(suffix)), ""))
    words = re.sub(r"[^a-z0-9_]+", "-", name).strip("-")[:MOST_CHARACTERS_OF_A_FOLDER]
    digest = hashlib.sha256(os.fsencode(source)).hexdigest()[:6]
    return f"{words or 'data'}-{digest}" if is_folder else words


def _read_file(file: Path) -> Overrides:
    try:
        content = read_yaml(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"cannot read --config {file}: {error.strerror}; use a readable YAML file") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"--config {file} is not YAML: {' '.join(str(error).split())}") from error
    boards = content.get("boards") or {} if isinstance(content, dict) else None
    if not isinstance(boards, dict) or not all(isinstance(value, dict) for value in boards.values()):
        raise ConfigError(f"--config {file} must map sections to fields, and `boards` to board names with sections")
    if not all(isinstance(key, str) for key in content):
        raise ConfigError(f"--config {file} has a section whose name is not text: use names such as numpy_mlp")
    return dict(content)


def _split_by_board(
    from_file: Overrides, settings: Sequence[str], names: set[str]
) -> tuple[Overrides, dict[str, Overrides]]:
    """Return the overrides for all boards, and those for single boards by name; settings win over the file."""
    for_all = {key: value for key, value in from_file.items() if key != "boards"}
    for_one: dict[str, Overrides] = dict(from_file.get("boards") or {})
    for name in for_one:
        if name not in names:
            raise ConfigError(f"--config has a board {name!r}, but the boards are {', '.join(sorted(names))}")
    for setting in settings:
        path, value = _parse_setting(setting)
        if path[0] in names:
            for_one[path[0]] = _merge(for_one.get(path[0], {}), _nest(path[1:], value))
        else:
            for_all = _merge(for_all, _nest(path, value))
    return for_all, for_one


def _parse_setting(setting: str) -> tuple[list[str], Any]:
    path, equals, value = setting.partition("=")
    if not equals or not path.strip():
        raise ConfigError(f"--set {setting} has no value: write --set section.field=value")
    try:
        return _split_path(path.strip()), read_yaml(value)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"--set {setting}: the value is not valid YAML; put it in quotes") from error


def _split_path(path: str) -> list[str]:
    """Return the keys of a path; the name of a network may have dots, but no field has.

    >>> _split_path("photos.networks.vgg16@features.16.pooling"), _split_path("data.columns.label")
    (['photos', 'networks', 'vgg16@features.16', 'pooling'], ['data', 'columns', 'label'])
    """
    keys = path.split(".")
    if NETWORKS not in keys[:2]:
        return keys
    first = keys.index(NETWORKS) + 1
    return [*keys[:first], ".".join(keys[first:-1]), keys[-1]] if len(keys) > first + 2 else keys


def _nest(path: Sequence[str], value: Any) -> Overrides:
    for key in reversed(path):
        value = {key: value}
    if not isinstance(value, dict):
        raise ConfigError("--set names a board but no field: write --set BOARD.section.field=value")
    return value


def _merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> Overrides:
    """Return `old` updated with `new`, section by section."""
    merged = dict(old)
    for key, value in new.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _override(config: BoardConfig, for_all: Overrides, for_one: Overrides) -> BoardConfig:
    return _validate(BoardConfig, _merge(_merge(config.model_dump(), for_all), for_one))


def _validate(model: type[Model], values: Overrides) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(describe_first_error(model, error)) from error

"""The answer of `check --labels`: which labels are probably wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.commands.terminal import errors, terminal
from triptych.config.presets import FOLDER_PRESET
from triptych.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from triptych.evaluation.labels.judge import JudgedLabels

FEW = 10
# The network for photos, unless another one is named: the smaller of the two of the preset for photos.
NETWORK = "resnet50"
CORRECTIONS, SHEET = "corrections.csv", "labels.html"


def check_labels(
    data: str, settings: Sequence[str], *, panel: str | None, folder: Path | None, as_json: bool, everything: bool
) -> None:
    """Print the labels of a data set that are probably wrong, and write them to files.

    Args:
        data: as for `triptych check`.
        settings: of the sections `data`, `split` and `transfer`.
        panel: the pretrained network; None: none for images of one small size, else `NETWORK`.
        folder: where to write the corrections and the contact sheet; None writes nothing.
        as_json: print JSON.
        everything: print every suspect instead of the first few.

    Raises:
        ConfigError: a setting or a panel is not allowed.
        DataError: training would refuse the data.
        StorageError: the files cannot be written.
        WeightsError: the weights are missing, damaged or of another network.
    """
    from triptych.system.progress import show_progress

    if folder is not None:
        with _storage_explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
    with show_progress(errors):
        judged = _judge(data, settings, panel)
    if folder is not None:
        with _storage_explained(folder):
            _write(judged, folder)
    if as_json:
        print(json.dumps(judged.as_json(), indent=2))
    else:
        _print(judged, None if everything else FEW)


def _judge(data: str, settings: Sequence[str], panel: str | None) -> JudgedLabels:
    from triptych.commands.preflight import check_board_weights
    from triptych.config.resolve import resolve_config
    from triptych.data.boards import load_board, prepare_board
    from triptych.evaluation.labels.judge import judge_labels
    from triptych.panels.answers.labels import are_small, provide_features
    from triptych.system.progress import tracking

    [config] = resolve_config(FOLDER_PRESET, data=data, panels=[panel or NETWORK], settings=settings).boards
    # A Hugging Face folder is called by its last part there.
    panel = config.panels[0] if panel else None
    if panel and panel not in config.backbone_panels:
        raise ConfigError(f"--panel {panel} has no embeddings: name a pretrained network, such as {NETWORK}")
    if panel:
        check_board_weights(config)
    with tracking("read images", passing=True) as move:
        board = load_board(prepare_board(config, on_image=move))
    features = provide_features(board, panel or ("" if are_small(board) else NETWORK))
    with tracking("judge labels", passing=True):
        return judge_labels(board, features)


def _write(judged: JudgedLabels, folder: Path) -> None:
    from triptych.evaluation.labels.judge import write_corrections
    from triptych.evaluation.labels.sheet import render_sheet
    from triptych.system.files import replace_atomically

    write_corrections(judged, folder / CORRECTIONS)
    with replace_atomically(folder / SHEET) as partial_file:
        partial_file.write_text(render_sheet(judged), encoding="utf-8")
    for file in (CORRECTIONS, SHEET):
        errors.print(f"written: {folder / file}")


@contextmanager
def _storage_explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write to {folder} ({error.strerror}): choose another folder with --to") from error


def _print(judged: JudgedLabels, limit: int | None) -> None:
    from triptych.evaluation.labels.suspects import FEW_IMAGES

    found = judged.as_json()
    lines = [
        f"{one['path']}: labelled {one['label']}, rather {one['suggested']} ({one['probability']:.2f})"
        for one in found["suspects"]
    ]
    _print_list(f"{found['data']}: {judged.verdict}", lines, limit)
    if outliers := found["outliers"]:
        title = f"{len(outliers):,} image{' is' if len(outliers) == 1 else 's are'} like none of the classes"
        _print_list(title, [f"{one['path']}: labelled {one['label']}" for one in outliers], limit)
    if found["unjudged_classes"]:
        names = ", ".join(found["unjudged_classes"])
        _print_line(f"not judged, with fewer than {FEW_IMAGES} images: {names}")


def _print_list(title: str, lines: Sequence[str], limit: int | None) -> None:
    _print_line(title, style="bold")
    for line in lines[:limit]:
        _print_line(f"  - {line}")
    if more := len(lines) - len(lines[:limit]):
        _print_line(f"    and {more:,} more (--all)")


def _print_line(line: str, style: str = "") -> None:
    terminal.print(line, style=style, highlight=False, soft_wrap=True)

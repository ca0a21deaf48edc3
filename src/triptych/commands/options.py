"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def complete_preset(incomplete: str) -> list[str]:
    """Return the presets that a shell may complete a word to."""
    from triptych.config.presets import PRESETS

    return [name for name in PRESETS if name.startswith(incomplete)]


def complete_panel(incomplete: str) -> list[str]:
    """Return the panels that a shell may complete a word to."""
    from triptych.config.trainers import PANEL_NAMES

    return [name for name in PANEL_NAMES if name.startswith(incomplete)]


PresetOption = Annotated[
    str | None,
    typer.Option("--preset", "-p", help="A preset; `triptych presets` lists them.", autocompletion=complete_preset),
]
DATA_HELP = (
    "A folder with one subfolder of images per class, a table of images (CSV, TSV, Parquet or JSON lines), idx:DIR, or "
    "a data set's name."
)
DataOption = Annotated[str | None, typer.Option(help=DATA_HELP)]
PanelOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Train only this panel, such as numpy-mlp, resnet50 (any of torchvision), timm:NAME, hf:DIR. Repeatable.",
        autocompletion=complete_panel,
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override a field: [BOARD.]section.field=value. Repeatable.")
]
FileOption = Annotated[Path | None, typer.Option("--config", help="A YAML file with sections and their fields.")]
FreshOption = Annotated[
    bool, typer.Option("--fresh", help="Train every panel again, even if the same training is in the cache.")
]
TunedOption = Annotated[
    bool, typer.Option("--tuned", help="Use the best settings that `triptych tune` found on this board and split.")
]
RunnerOption = Annotated[
    str,
    typer.Option(
        help="Where tasks run: threads (in this process), dask (workers on this machine) or dask:ADDRESS (a cluster). "
        "Anyone who reaches a cluster without certificates can run code there."
    ),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the full log, and tracebacks of errors.")]
ModelArgument = Annotated[str, typer.Argument(metavar="NAME[@ALIAS|/VERSION]", help="A registered model.")]
ErrorRateOption = Annotated[
    str | None,
    typer.Option(
        "--error-at-most",
        metavar="RATE",
        help="Answer only so that at most this share of the answers is wrong, such as 2%; else say not sure.",
    ),
]

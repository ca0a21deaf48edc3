"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PresetOption = Annotated[str | None, typer.Option("--preset", "-p", help="A preset; `triptych presets` lists them.")]
DataOption = Annotated[
    str | None, typer.Option(help="A folder of images per class, idx:DIR, or the name of a data set.")
]
PanelOption = Annotated[
    list[str] | None,
    typer.Option(help="Train only this panel: numpy-mlp, torch-mlp or a torchvision network. Repeatable."),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override a field: [BOARD.]section.field=value. Repeatable.")
]
FileOption = Annotated[Path | None, typer.Option("--config", help="A YAML file of sections and their fields.")]
FreshOption = Annotated[
    bool, typer.Option("--fresh", help="Train every panel anew, although the same training is on disk.")
]
TunedOption = Annotated[
    bool, typer.Option("--tuned", help="Use the best setting that `triptych tune` found on this board and split.")
]
RunnerOption = Annotated[
    str, typer.Option(help="Where tasks run: threads (this process), dask (two or more here) or dask:ADDRESS.")
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show Prefect's log, and tracebacks of errors.")]

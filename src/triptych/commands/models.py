"""The commands for the results of a comparison: its report and its registered models."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from triptych.commands.answers.caution import read_rate, take_caution
from triptych.commands.options import DebugOption, ErrorRateOption, ModelArgument
from triptych.commands.terminal import EXIT_FAILURE, errors, terminal
from triptych.errors import ConfigError, escape_controls
from triptych.system.environment import apply_environment
from triptych.system.files import replace_atomically
from triptych.system.own_memory import garbage_collection_paused
from triptych.system.progress import OnProgress, show_progress, tracking
from triptych.system.text import escape_formula

REPORT_EXAMPLES = """
Download the report of a comparison, one self-contained HTML page, and print its path.

Examples:

    triptych report --open

    triptych report 20260101-030000-abc123 --to report.html
"""
FETCH_EXAMPLES = """
Download a registered model with its card, requirements and checksums.

With --format onnx it is exported for any ONNX runtime; onnx.json then describes the input and the output.

Examples:

    triptych fetch digits --to champion

    triptych fetch digits-numpy-mlp/3 --to by-hand --format onnx
"""
PREDICT_EXAMPLES = """
Print the most probable classes of images, or of all images in folders.

Images that cannot be read are reported at the end, and the exit code is 1.

With --error-at-most the answer is a class, "not sure", or "foreign" for what is unlike the training images.

Examples:

    triptych predict digits photo.png --top 3

    triptych predict photos-bees-1a2b3c@champion ~/photos --json

    triptych predict digits photo.png --error-at-most 2%
"""
PROMOTE_EXAMPLES = """
Make a version of a registered model its champion.

Example:

    triptych promote digits/3
"""
ROLLBACK_EXAMPLES = """
Make the previous champion the champion again.

Example:

    triptych rollback digits
"""

# How a fetched model is used.
HINTS = {
    "mlflow": "load it with mlflow.pyfunc.load_model({!r})",
    "onnx": "load model.onnx with onnxruntime; onnx.json describes the input",
}


def report(
    comparison: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A comparison, its run id, or a board; the last one by default.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write it there, over a file that is there already.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Also open it in the browser.")] = False,
    debug: DebugOption = False,
) -> None:
    """Download the report and print its path."""
    check_target(to)
    apply_environment(quiet=not debug)
    with show_progress(errors), tracking("download the report", passing=True), garbage_collection_paused():
        from triptych.tracking.queries import fetch_report

        file = fetch_report(comparison)
        if to:
            to = to.resolve()  # of a link its target is written, not the link
            with replace_atomically(to) as partial:
                shutil.copyfile(file, partial)
            file = to
    terminal.print(str(file), soft_wrap=True, highlight=False)
    if show:
        open_page(file)


def check_target(to: Path | None) -> None:
    """Check that a page can be written to a place, if one is given.

    Raises:
        ConfigError: it is a folder, or in none, or no regular file.
    """
    if to and (reason := _explain_unusable(to)):
        raise ConfigError(f"--to {to}: {reason}; name a file, such as report.html")


def _explain_unusable(file: Path) -> str:
    """Return why a file cannot be written at a place; nothing if it can, or if only writing will show it."""
    if os.path.isdir(file):  # noqa: PTH112 - pathlib raises where a name is too long
        return "it is a folder"
    if not os.path.isdir(file.parent):  # noqa: PTH112
        return f"there is no folder {file.parent}"
    special = os.path.exists(file) and not os.path.isfile(file)  # noqa: PTH110, PTH113
    return "it is a device or a pipe, which the file would replace" if special else ""


def open_page(file: Path) -> None:
    """Open a file in the first browser that can.

    Raises:
        ConfigError: none can; without a screen there is none but those that BROWSER names.
    """
    if not webbrowser.open(file.as_uri()):
        screen = sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
        reason = "no browser opens it" if screen else "without a screen no browser opens it (DISPLAY is not set)"
        raise ConfigError(f"the page is written, but {reason}: open {file.as_uri()} yourself, or set BROWSER")


def fetch(
    name: ModelArgument,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="A new or empty folder.")],
    model_format: Annotated[str, typer.Option("--format", help="mlflow or onnx.")] = "mlflow",
    debug: DebugOption = False,
) -> None:
    """Download a model."""
    apply_environment(quiet=not debug)
    with show_progress(errors), tracking(f"fetch {name} as {model_format}", passing=True):
        from triptych.tracking.registry.fetching import fetch_model

        folder = fetch_model(name, to, model_format)
    terminal.print(f"{folder}: {HINTS[model_format].format(str(folder))}", soft_wrap=True, highlight=False)


def promote(
    name: Annotated[str, typer.Argument(metavar="NAME/VERSION", help="A version of a registered model.")],
    debug: DebugOption = False,
) -> None:
    """Move the alias to a version."""
    apply_environment(quiet=not debug)
    from triptych.tracking.registry.champions import promote as move_alias

    model, separator, version = name.partition("/")
    if not separator:
        raise ConfigError(f"{name!r} names no version: give NAME/VERSION, such as {name}/1")
    terminal.print(f"version {move_alias(model, version)} of {model} is the champion", highlight=False)


def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A registered model.")],
    debug: DebugOption = False,
) -> None:
    """Move the alias back to the version that had it before."""
    apply_environment(quiet=not debug)
    from triptych.tracking.registry.champions import rollback as move_back

    terminal.print(f"version {move_back(name)} of {name} is the champion again", highlight=False)


def predict(
    name: ModelArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, or folders of them.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    top: Annotated[int, typer.Option(min=1, help="Classes to print per image.")] = 1,
    error_at_most: ErrorRateOption = None,
    debug: DebugOption = False,
) -> None:
    """Predict the images one by one."""
    apply_environment(quiet=not debug)
    from triptych.images.walk import find_images

    if as_json and as_csv:
        raise ConfigError("--json and --csv exclude each other: give one of them")
    rate = None if error_at_most is None else read_rate(error_at_most)
    files, notes = find_images(images)
    for note in notes:
        errors.print(f"triptych: {note}")
    with show_progress(errors):
        rows, unreadable = _predict(name, files, top, rate)
    _print_rows(rows, as_json=as_json, as_csv=as_csv)
    for reason in unreadable:
        errors.print(f"triptych: {escape_controls(reason)}")
    if unreadable:
        raise typer.Exit(EXIT_FAILURE)


def _predict(name: str, files: Sequence[Path], top: int, rate: float | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows of the images and, for those that cannot be read, why."""
    with tracking(f"load {name}", passing=True), garbage_collection_paused():
        from triptych.panels.prediction import predict_files
        from triptych.tracking.registry.loading import load_version
        from triptych.tracking.registry.versions import find_version

        version = find_version(name)
        loaded = load_version(version)
    caution = None if rate is None else take_caution(version, loaded, rate)
    with tracking("predict", passing=True) as move:
        counted = _count(files, move)
        rows, unreadable = predict_files(loaded.network, loaded.classes, counted, top, loaded.white_level, caution)
    return rows, [str(error) for error in unreadable]


def _count(files: Sequence[Path], move: OnProgress) -> Iterator[Path]:
    """Yield files, and show how many were read."""
    for done, file in enumerate(files):
        move(done, len(files))
        yield file


def _print_rows(rows: list[dict[str, Any]], *, as_json: bool, as_csv: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        answered = any("answer" in row for row in rows)
        writer.writerow(["image", "class", "probability", *(["answer"] if answered else [])])
        for row in rows:
            answer = [escape_formula(row["answer"])] if answered else []
            for guess in row["classes"]:
                cells = [escape_formula(row["image"]), escape_formula(guess["class"]), guess["probability"]]
                writer.writerow([*cells, *answer])
    else:
        for row in rows:
            guesses = ", ".join(f"{guess['class']} {guess['probability']:.4f}" for guess in row["classes"])
            abstains = row.get("answer", row["classes"][0]["class"]) != row["classes"][0]["class"]
            shown = f"{row['answer']} ({guesses})" if abstains else guesses
            print(escape_controls(f"{row['image']}: {shown}"))

"""The command `amount`: what would more training images bring?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.commands.options import DataOption, DebugOption, FileOption, PanelOption, PresetOption, SetOption
from triptych.commands.terminal import errors, explain_interrupt, explain_page, print_link, print_table, print_words
from triptych.errors import ConfigError
from triptych.system.environment import apply_environment
from triptych.system.progress import show_progress, tracking

if TYPE_CHECKING:
    from triptych.config.resolve import Config
    from triptych.data.boards import PreparedBoard
    from triptych.evaluation.amount.forecast import Amount

EXAMPLES = """
Train panels on more and more of the training images, and forecast what more images would bring.

Every training is tested on the same test images.

The answer is the accuracy by the number of training images, and a forecast for twice and four times as many.

Examples:

    triptych amount --panel nearest-neighbours

    triptych amount --preset photos --data ~/photos --panel resnet50

    triptych amount --panel numpy-mlp --set numpy_mlp.epochs=20 --json
"""
FEWEST_DRAWS, MOST_DRAWS = 3, 1000


def amount(
    preset: PresetOption = None,
    data: DataOption = None,
    panel: PanelOption = None,
    settings: SetOption = None,
    config: FileOption = None,
    draws: Annotated[int, typer.Option(help="Trainings with other images of each size.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as JSON.")] = False,
    debug: DebugOption = False,
) -> None:
    """Measure and forecast the accuracies of each board, and print them."""
    from triptych.commands.preflight import check_early
    from triptych.config.resolve import resolve_config

    resolved = resolve_config(preset, data=data, panels=panel or (), settings=settings or (), file=config)
    if not FEWEST_DRAWS <= draws <= MOST_DRAWS:
        raise ConfigError(f"--draws {draws} is not allowed: it must be between {FEWEST_DRAWS} and {MOST_DRAWS:,}")
    for board in resolved.boards:
        if board.split.folds:
            raise ConfigError(
                f"split.folds = {board.split.folds} has no single test set, which a learning curve needs: set it to 0"
            )
    apply_environment(quiet=not debug)
    with explain_interrupt(), show_progress(errors):
        with tracking("check paths and weights", passing=True):
            check_early(resolved)
        answers = _answer(resolved, draws)
    if as_json:
        print(
            json.dumps([one.as_json() | {"board": board} for board, _, amounts in answers for one in amounts], indent=2)
        )
        return
    for name, link, amounts in answers:
        _print(name, link, amounts)


def _answer(resolved: Config, draws: int) -> list[tuple[str, str, list[Amount]]]:
    """Return for each board its name, the address of its run, and the curve of each panel."""
    from triptych.commands.preflight import check_inputs
    from triptych.data.boards import open_board
    from triptych.panels.answers.amount import draw_subsets
    from triptych.tracking.answers.amount import record_amounts

    answers = []
    boards = check_inputs(resolved)
    for prepared in boards:
        draw_subsets(open_board(prepared), draws)  # refuses what is too small before anything is trained
    for prepared in boards:
        amounts = _measure(prepared, draws)
        with tracking("record the curves", passing=True):
            answers.append((prepared.config.name, record_amounts(prepared, amounts), amounts))
    return answers


def _measure(prepared: PreparedBoard, draws: int) -> list[Amount]:
    """Return the curve of each panel of a board."""
    import numpy as np

    from triptych.data.boards import open_board
    from triptych.evaluation.amount.forecast import forecast_accuracy
    from triptych.panels.answers.amount import draw_subsets, embed_panels, train_on_subsets
    from triptych.training.jobs import list_jobs

    data = open_board(prepared)
    subsets = draw_subsets(data, draws)
    sizes = {number: [len(one.train) for one in subsets if one.size == number] for number in {s.size for s in subsets}}
    images = np.array([round(float(np.mean(sizes[number]))) for number in sorted(sizes)])
    embedded = embed_panels(data)
    groups = None if data.groups is None else data.groups[data.split.test]
    amounts = []
    for job in (job for job in list_jobs(prepared) if job.repeat == 0):
        with tracking(f"train {job.label} on {prepared.config.name}") as move:
            correct = train_on_subsets(data, job, subsets, embedded.get(job.panel), move)
        level = prepared.config.evaluate.confidence_level
        amounts.append(forecast_accuracy(job.panel, job.label, images, correct, confidence_level=level, groups=groups))
    return amounts


def _print(board: str, link: str, amounts: list[Amount]) -> None:
    """Print a row for each number of images, and what it means."""
    from triptych.evaluation.amount.page import build_amount_rows

    print_table(f"{board}, accuracy by training images", build_amount_rows(amounts))
    print_words(*(one.sentence for one in amounts), style="bold")
    print_link(f"Curve and page ({explain_page()}):", link)

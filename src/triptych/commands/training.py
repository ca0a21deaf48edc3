"""The commands that train: compare and tune."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from triptych.commands.options import (
    DataOption,
    DebugOption,
    FileOption,
    FreshOption,
    PanelOption,
    PresetOption,
    RunnerOption,
    SetOption,
    TunedOption,
    complete_panel,
)
from triptych.commands.terminal import (
    EXIT_FAILURE,
    EXIT_INPUT,
    errors,
    explain_champion,
    explain_interrupt,
    explain_page,
    print_link,
    print_table,
    print_words,
)
from triptych.errors import IncompleteError
from triptych.system.environment import apply_environment
from triptych.system.threads import count_cores

if TYPE_CHECKING:
    from prefect import Flow

    from triptych.evaluation.report import ComparisonResult
    from triptych.tuning.results import TuningResult

Result = TypeVar("Result")

COMPARE_EXAMPLES = """
Train the panels of a preset on one split and compare them in MLflow.

Run the same command again to continue a comparison that was interrupted.

Examples:

    triptych compare

    triptych compare --preset photos --data ~/photos --panel numpy-mlp --panel resnet50

    triptych compare --preset report --panel numpy-mlp --set numpy_mlp.epochs=20 --set numpy_mlp.hidden_units=[100]
"""
TUNE_EXAMPLES = """
Search for better settings of one panel, scored on the validation set.

Run the same command again to continue the study.

Examples:

    triptych tune numpy-mlp --trials 20

    triptych tune resnet50 --preset photos --data ~/photos --trials 30 --workers 2

    triptych compare --tuned
"""


def compare(  # noqa: PLR0917 - one for each option
    preset: PresetOption = None,
    data: DataOption = None,
    panel: PanelOption = None,
    settings: SetOption = None,
    config: FileOption = None,
    fresh: FreshOption = False,
    tuned: TunedOption = False,
    runner: RunnerOption = "threads",
    debug: DebugOption = False,
) -> None:
    """Resolve the configuration, check the data, run the flow, print the results."""
    from triptych.commands.startup import run_flow
    from triptych.config.resolve import resolve_config
    from triptych.config.runner import check_runner

    resolved = resolve_config(preset, data=data, panels=panel or (), settings=settings or (), file=config)
    resolved = resolved.model_copy(update={"fresh": fresh, "tuned": tuned})
    check_runner(runner)
    apply_environment(quiet=not debug)

    def check_all() -> None:
        from triptych.commands.preflight import check_inputs

        check_inputs(resolved)

    _print_results(lambda: run_flow(check_all, _import_compare, resolved, runner=runner), _print_comparison)


def _import_compare() -> Flow[..., list[ComparisonResult]]:
    from flows.compare import compare as flow

    return flow


def _print_results(run: Callable[[], Sequence[Result]], print_result: Callable[[Result], None]) -> None:
    """Run a flow and print its results; if some are missing, print the others, the reasons, and exit with an error."""
    with explain_interrupt():
        try:
            results = run()
        except IncompleteError as error:
            for result in error.results:
                print_result(result)
            errors.print(f"triptych: {error}")
            raise typer.Exit(EXIT_INPUT if error.bad_input else EXIT_FAILURE) from error
    for result in results:
        print_result(result)


def _print_comparison(result: ComparisonResult) -> None:
    report = result.report
    print_words("")
    repeats = max(standing.repeats for standing in report.standings)
    means = f", means over {repeats} repeats" if repeats > 1 else ""
    tested = f"images out of fold ({report.folds} folds)" if report.folds else "test images"
    title = f"{report.board}, accuracy on {report.test_images} {tested}{means}"
    print_table(title, report.as_rows("terminal"), apart=bool(report.ensemble))
    print_words(report.verdict, style="bold")
    print_words(*([report.ensemble.text] if report.ensemble else []))
    print_words(*(f"- {line}" for line in (*report.caveats, *report.list_findings())))
    print_words(f"Champion: {result.promotion}")
    # After a comparison that registers nothing, a champion is another one's.
    champion = explain_champion(report.board) if result.state else []
    if models := [*([f"{report.board}@champion"] if champion else []), *result.models]:
        print_words(f"Models: {', '.join(models)}")
    print_words(f"Next: {', '.join(suggest_next(result, has_champion=bool(champion)))}")
    print_words(*champion, whole=True)
    print_link(f"Curves and metrics ({explain_page()}):", result.link)


def suggest_next(result: ComparisonResult, *, has_champion: bool) -> list[str]:
    """Return the commands that are useful after a comparison.

    Args:
        result: of the comparison.
        has_champion: whether the board has one.
    """
    commands = {
        "triptych report --open": True,
        f"triptych promote {result.awaiting}": bool(result.awaiting),
        f"triptych predict {result.report.board} IMAGE": has_champion,
    }
    return [command for command, useful in commands.items() if useful]


def tune(  # noqa: PLR0917 - one for each option
    panel: Annotated[
        str,
        typer.Argument(
            metavar="PANEL",
            help="The panel, such as numpy-mlp, resnet50 (any of torchvision), timm:NAME, hf:DIR.",
            autocompletion=complete_panel,
        ),
    ],
    trials: Annotated[int, typer.Option(help="Trials of the study in total, including those of earlier calls.")] = 20,
    workers: Annotated[int | None, typer.Option(help="Trials that run in parallel; one per core by default.")] = None,
    preset: PresetOption = None,
    data: DataOption = None,
    settings: SetOption = None,
    config: FileOption = None,
    runner: RunnerOption = "threads",
    debug: DebugOption = False,
) -> None:
    """Resolve the configuration, check the data, run the flow, print the best trials."""
    from triptych.commands.startup import run_flow
    from triptych.config.resolve import resolve_config
    from triptych.config.runner import check_runner

    resolved = resolve_config(preset, data=data, panels=[panel], settings=settings or (), file=config)
    check_runner(runner)
    apply_environment(quiet=not debug)
    parallel = count_cores() if workers is None else workers

    def check_all() -> None:
        from triptych.commands.preflight import check_tuning

        check_tuning(resolved, trials, parallel)

    given = {"--preset": preset, "--data": data, "--panel": panel if data else None}
    pairs = [
        *((option, str(value)) for option, value in given.items() if value),
        *(("--set", one) for one in settings or ()),
    ]
    options = [word for pair in pairs for word in pair]
    _print_results(
        lambda: run_flow(check_all, _import_tune, resolved, trials, parallel, runner=runner),
        partial(_print_tuning, following=shlex.join(["triptych", "compare", *options, "--tuned"])),
    )


def _import_tune() -> Flow[..., list[TuningResult]]:
    from flows.tune import tune as flow

    return flow


def _print_tuning(result: TuningResult, following: str) -> None:
    findings = result.findings
    print_words("")
    print_table(f"{findings.panel} on {findings.board}, the best trials", findings.best_rows())
    print_words(findings.verdict, style="bold")
    print_link(f"Next: {following}, which uses the best setting, or --config with this file:", result.file)
    print_link(f"All trials ({explain_page()}):", result.link)

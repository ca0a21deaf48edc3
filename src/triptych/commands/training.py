"""The commands that train: compare and tune."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
)
from triptych.commands.terminal import (
    EXIT_FAILURE,
    EXIT_INPUT,
    build_table,
    errors,
    explain_interrupt,
    explain_page,
    terminal,
)
from triptych.errors import IncompleteError
from triptych.system.environment import apply_environment
from triptych.system.threads import count_cores

if TYPE_CHECKING:
    from triptych.config.resolve import Config
    from triptych.evaluation.report import ComparisonResult
    from triptych.tuning.results import TuningResult

Result = TypeVar("Result")
# What fits beside each other in a terminal of 80 columns; MLflow holds the rest.
PRINTED_COLUMNS = ("panel", "accuracy", "interval", "repeats", "std", "fit s", "embed s")

COMPARE_EXAMPLES = """
Train the panels of a preset side by side on one split, and compare them in MLflow.

Examples:

    triptych compare

    triptych compare --preset photos --data ~/photos --panel numpy-mlp --panel resnet50

    triptych compare --preset report --panel numpy-mlp --set numpy_mlp.epochs=20 --set numpy_mlp.hidden_units=[100]
"""
TUNE_EXAMPLES = """
Look for better settings of one panel on the validation part; the same command again continues the study.

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
    """Resolve the configuration, check the data, run the flow, print the result."""
    from triptych.config.resolve import resolve_config
    from triptych.config.runner import check_runner

    resolved = resolve_config(preset, data=data, panels=panel or (), settings=settings or (), file=config)
    resolved = resolved.model_copy(update={"fresh": fresh, "tuned": tuned})
    check_runner(runner)
    apply_environment(quiet=not debug)
    _print_results(lambda: _run(resolved, runner), _print_result)


def _run(config: Config, runner: str) -> list[ComparisonResult]:
    """Start Prefect's server, meanwhile check what can be checked and import what takes long, then run the flow."""
    from triptych.commands.startup import import_early, spare_imports_the_collector
    from triptych.commands.temporary_server import TemporaryServer
    from triptych.system.progress import show_progress

    server = TemporaryServer()
    with show_progress(terminal):
        with spare_imports_the_collector():
            from triptych.commands.preflight import check_inputs

            check_inputs(config)
            import_early(config)
            from flows.compare import compare as compare_flow
            from triptych.orchestration import run_on

            server.hand_over()
        return run_on(runner, compare_flow, config)


def _print_results(run: Callable[[], Sequence[Result]], print_result: Callable[[Result], None]) -> None:
    """Run a flow and print its results; where only a part has one, print these, and exit with what went wrong."""
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


def _print_result(result: ComparisonResult) -> None:
    report = result.report
    terminal.print()
    title = f"{report.board}, accuracy on {report.test_images} test images"
    rows = report.as_rows()
    told = [name for name in PRINTED_COLUMNS if any(row[name] != "-" for row in rows)]
    terminal.print(build_table(title, [{name: row[name] for name in told} for row in rows]))
    terminal.print(report.verdict, style="bold", highlight=False)
    for caveat in report.caveats:
        terminal.print(f"- {caveat}", highlight=False)
    terminal.print(f"Champion: {result.promotion}", highlight=False)
    terminal.print(f"Curves and metrics ({explain_page()}):", highlight=False)
    terminal.print(result.link, soft_wrap=True, highlight=False, style="cyan")


def tune(  # noqa: PLR0917 - one for each option
    panel: Annotated[
        str, typer.Argument(metavar="PANEL", help="The panel: numpy-mlp, torch-mlp or a torchvision network.")
    ],
    trials: Annotated[int, typer.Option(help="Trials in all, with those of earlier calls.")] = 20,
    workers: Annotated[int | None, typer.Option(help="Trials side by side; by default one on each core.")] = None,
    preset: PresetOption = None,
    data: DataOption = None,
    settings: SetOption = None,
    config: FileOption = None,
    runner: RunnerOption = "threads",
    debug: DebugOption = False,
) -> None:
    """Resolve the configuration, check the data, run the flow, print the best trials."""
    from triptych.config.resolve import resolve_config
    from triptych.config.runner import check_runner

    resolved = resolve_config(preset, data=data, panels=[panel], settings=settings or (), file=config)
    check_runner(runner)
    apply_environment(quiet=not debug)
    workers = count_cores() if workers is None else workers
    _print_results(lambda: _run_tuning(resolved, trials, workers, runner), _print_tuning)


def _run_tuning(config: Config, trials: int, workers: int, runner: str) -> list[TuningResult]:
    """Start Prefect's server, meanwhile check what can be checked and import what takes long, then run the flow."""
    from triptych.commands.startup import import_early, spare_imports_the_collector
    from triptych.commands.temporary_server import TemporaryServer
    from triptych.system.progress import show_progress

    server = TemporaryServer()
    with show_progress(terminal):
        with spare_imports_the_collector():
            from triptych.commands.preflight import check_tuning

            check_tuning(config, trials, workers)
            import_early(config)
            from flows.tune import tune as tune_flow
            from triptych.orchestration import run_on

            server.hand_over()
        return run_on(runner, tune_flow, config, trials, workers)


def _print_tuning(result: TuningResult) -> None:
    findings = result.findings
    terminal.print()
    terminal.print(build_table(f"{findings.panel} on {findings.board}, the best trials", findings.best_rows()))
    terminal.print(findings.verdict, style="bold", highlight=False)
    terminal.print("Compare it with `triptych compare --tuned`, or with `--config` and this file:", highlight=False)
    terminal.print(result.file, soft_wrap=True, highlight=False, style="cyan")
    terminal.print(f"All trials ({explain_page()}):", highlight=False)
    terminal.print(result.link, soft_wrap=True, highlight=False, style="cyan")

"""The command line: compare, show, presets. Heavy libraries are imported by the command that needs them."""

from __future__ import annotations

import json
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from triptych.environment import apply_environment
from triptych.errors import InputError

if TYPE_CHECKING:
    from triptych.config import Config
    from triptych.report import ComparisonResult
    from triptych.tracking import PanelRun

EXIT_INPUT, EXIT_FAILURE, EXIT_INTERRUPTED = 2, 1, 130

# What fits beside each other in a terminal of 80 columns; MLflow holds the rest.
PRINTED_COLUMNS = ("panel", "accuracy", "interval", "repeats", "std", "fit s", "embed s")
SHOWN_METRICS = {
    "accuracy": "test_accuracy",
    "log loss": "test_log_loss",
    "fit s": "fit_seconds",
}

app = typer.Typer(
    name="triptych",
    help="Side by side, honestly: a network by hand in NumPy, the same in PyTorch, and transfer learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
terminal = Console()
errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

COMPARE_EXAMPLES = """
Train the panels of a preset side by side on one split, and compare them in MLflow.

Examples:

    triptych compare

    triptych compare --preset photos --data ~/photos --panel numpy-mlp --panel resnet50

    triptych compare --preset report --panel numpy-mlp --set numpy_mlp.epochs=20 --set numpy_mlp.hidden_units=[100]
"""
SHOW_EXAMPLES = """
Show the last comparison of each board.

Examples:

    triptych show

    triptych show --json | python -m json.tool
"""
PRESETS_EXAMPLES = """
List the presets: what each compares, and what it needs.

Example:

    triptych presets
"""

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
DebugOption = Annotated[bool, typer.Option("--debug", help="Show Prefect's log, and tracebacks of errors.")]


@app.command(help=COMPARE_EXAMPLES)
def compare(
    preset: PresetOption = None,
    data: DataOption = None,
    panel: PanelOption = None,
    settings: SetOption = None,
    config: FileOption = None,
    fresh: FreshOption = False,
    debug: DebugOption = False,
) -> None:
    """Resolve the configuration, check the data, run the flow, print the result."""
    from triptych.config import resolve_config

    resolved = resolve_config(preset, data=data, panels=panel or (), settings=settings or (), file=config)
    resolved = resolved.model_copy(update={"fresh": fresh})
    apply_environment(quiet=not debug)
    try:
        results = _run(resolved)
    except KeyboardInterrupt as interrupt:
        errors.print("triptych: interrupted; the runs that were open are closed")
        raise typer.Exit(EXIT_INTERRUPTED) from interrupt
    for result in results:
        _print_result(result)


def _run(config: Config) -> list[ComparisonResult]:
    """Check what can be checked at once, then start Prefect, and meanwhile import what takes long."""
    from triptych.preflight import check_inputs, import_libraries
    from triptych.progress import show_progress

    with show_progress(terminal):
        check_inputs(config)
        threading.Thread(target=import_libraries, args=(config,), daemon=True).start()
        from flows.compare import compare as compare_flow

        return compare_flow(config)


def _print_result(result: ComparisonResult) -> None:
    report = result.report
    terminal.print()
    title = f"{report.board}, accuracy on {report.test_images} test images"
    terminal.print(_build_table(title, [{name: row[name] for name in PRINTED_COLUMNS} for row in report.as_rows()]))
    terminal.print(report.verdict, style="bold", highlight=False)
    for caveat in report.caveats:
        terminal.print(f"- {caveat}", highlight=False)
    terminal.print(f"Curves and metrics ({_explain_page()}):", highlight=False)
    terminal.print(result.link, soft_wrap=True, highlight=False, style="cyan")


def _build_table(title: str, rows: list[dict[str, str]]) -> Table:
    """Return a table: the first column to the left, figures to the right, nothing cut off."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in rows[0] if rows else ("no panel was trained",):
        left = column == "panel"
        table.add_column(column, justify="left" if left else "right", no_wrap=left, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    return table


def _explain_page() -> str:
    from triptych.tracking import local_uri, tracking_uri

    uri = tracking_uri()
    if uri.startswith("http"):
        return "in MLflow"
    server = "make ui" if uri == local_uri() else f"mlflow server --backend-store-uri {uri}"
    return f"start the page with `{server}`"


@app.command(help=SHOW_EXAMPLES)
def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print every panel run as JSON, for other programs.")] = False,
    link: Annotated[bool, typer.Option("--link", help="Print only the links to MLflow's charts.")] = False,
) -> None:
    """Print the last comparison of each board."""
    apply_environment(quiet=True)
    from triptych.tracking import find_last_comparisons

    found = find_last_comparisons()
    if as_json:
        print(json.dumps([asdict(run) for _, _, runs in found for run in runs], indent=2))
        return
    if not found:
        errors.print("no comparison yet: run `triptych compare`")
    for comparison, address, runs in found:
        if not link:
            terminal.print(_tabulate_runs(comparison, runs))
        terminal.print(address, soft_wrap=True, highlight=False, style="cyan")


def _tabulate_runs(comparison: str, runs: list[PanelRun]) -> Table:
    ranked = sorted(runs, key=lambda run: -run.metrics.get("test_accuracy", 0.0))
    rows = [
        {"panel": run.label, "repeat": str(run.repeat), "status": run.status}
        | {name: f"{run.metrics[key]:.4f}" if key in run.metrics else "-" for name, key in SHOWN_METRICS.items()}
        for run in ranked
    ]
    board = runs[0].board if runs else "?"
    return _build_table(f"{board}, comparison {comparison}", rows)


@app.command(help=PRESETS_EXAMPLES)
def presets() -> None:
    """Print the table of presets."""
    from triptych.presets import PRESETS

    table = Table()
    for column in ("preset", "compares", "board", "panels", "needs"):
        table.add_column(column, overflow="fold")
    for name, preset in PRESETS.items():
        boards = "\n".join(board.name for board in preset.boards)
        panels = "\n".join(f"{', '.join(board.panels)} x {board.repeats}" for board in preset.boards)
        table.add_row(name, preset.summary, boards, panels, preset.needs)
    terminal.print(table)


def main() -> None:
    """Run the command line; an error of the user's is one line on stderr and exit code 2."""
    try:
        app()
    except InputError as error:
        _explain(error)
        sys.exit(EXIT_INPUT)
    except Exception as error:  # noqa: BLE001 - the last stop: whatever it is, the user gets one line
        _explain(error)
        sys.exit(EXIT_FAILURE)


def _explain(error: Exception) -> None:
    errors.print(f"triptych: {error}" if str(error) else f"triptych: {type(error).__name__}")
    if "--debug" in sys.argv:
        traceback.print_exc()

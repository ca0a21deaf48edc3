"""The command line: compare, tune, show, presets, cache. Commands import the heavy libraries that they need."""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from triptych.environment import apply_environment
from triptych.errors import ConfigError, InputError
from triptych.threads import count_cores

if TYPE_CHECKING:
    from triptych.cache import CacheEntry
    from triptych.config import Config
    from triptych.report import ComparisonResult
    from triptych.tracking import PanelRun
    from triptych.tuned import TuningResult

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
TUNE_EXAMPLES = """
Look for better settings of one panel on the validation part; the same command again continues the study.

Examples:

    triptych tune numpy-mlp --trials 20

    triptych tune resnet50 --preset photos --data ~/photos --trials 30 --workers 2

    triptych compare --tuned
"""
CHECK_EXAMPLES = """
Look at data before anything is trained: unreadable and doubled images, scarce classes, odd files.

Exit code 2 says that training would refuse the data.

Examples:

    triptych check ~/photos

    triptych check mnist --json | python -m json.tool
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

CACHE_EXAMPLES = """
List what the cache holds: embeddings, trainings, prepared data sets and splits.

Examples:

    triptych cache

    triptych cache prune --older-than 30
"""
PRUNE_EXAMPLES = """
Delete what was not used for some days and can be computed again; downloaded data sets and studies stay.

Examples:

    triptych cache prune

    triptych cache prune --older-than 7 --kind embeddings --kind trainings --yes
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
TunedOption = Annotated[
    bool, typer.Option("--tuned", help="Use the best setting that `triptych tune` found on this board and split.")
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
    tuned: TunedOption = False,
    debug: DebugOption = False,
) -> None:
    """Resolve the configuration, check the data, run the flow, print the result."""
    from triptych.config import resolve_config

    resolved = resolve_config(preset, data=data, panels=panel or (), settings=settings or (), file=config)
    resolved = resolved.model_copy(update={"fresh": fresh, "tuned": tuned})
    apply_environment(quiet=not debug)
    with _explain_interrupt():
        results = _run(resolved)
    for result in results:
        _print_result(result)


@contextmanager
def _explain_interrupt() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interrupt:
        errors.print("triptych: interrupted; the runs that were open are closed")
        raise typer.Exit(EXIT_INTERRUPTED) from interrupt


def _run(config: Config) -> list[ComparisonResult]:
    """Check what can be checked at once, then start Prefect, and meanwhile import what takes long."""
    from triptych.preflight import check_inputs, import_libraries
    from triptych.progress import show_progress

    with show_progress(terminal):
        check_inputs(config)
        threading.Thread(target=import_libraries, args=(config,), daemon=True).start()
        from flows.compare import compare as compare_flow

        return compare_flow(config)


@app.command(help=TUNE_EXAMPLES)
def tune(
    panel: Annotated[
        str, typer.Argument(metavar="PANEL", help="The panel: numpy-mlp, torch-mlp or a torchvision network.")
    ],
    trials: Annotated[int, typer.Option(help="Trials in all, with those of earlier calls.")] = 20,
    workers: Annotated[int | None, typer.Option(help="Trials side by side; by default one on each core.")] = None,
    preset: PresetOption = None,
    data: DataOption = None,
    settings: SetOption = None,
    config: FileOption = None,
    debug: DebugOption = False,
) -> None:
    """Resolve the configuration, check the data, run the flow, print the best trials."""
    from triptych.config import resolve_config

    resolved = resolve_config(preset, data=data, panels=[panel], settings=settings or (), file=config)
    apply_environment(quiet=not debug)
    with _explain_interrupt():
        results = _run_tuning(resolved, trials, count_cores() if workers is None else workers)
    for result in results:
        _print_tuning(result)


def _run_tuning(config: Config, trials: int, workers: int) -> list[TuningResult]:
    """Check what can be checked at once, then start Prefect, and meanwhile import what takes long."""
    from triptych.preflight import check_tuning, import_libraries
    from triptych.progress import show_progress

    with show_progress(terminal):
        check_tuning(config, trials, workers)
        threading.Thread(target=import_libraries, args=(config,), daemon=True).start()
        from flows.tune import tune as tune_flow

        return tune_flow(config, trials, workers)


def _print_tuning(result: TuningResult) -> None:
    findings = result.findings
    terminal.print()
    terminal.print(_build_table(f"{findings.panel} on {findings.board}, the best trials", findings.best_rows()))
    terminal.print(findings.verdict, style="bold", highlight=False)
    terminal.print("Compare it with `triptych compare --tuned`, or with `--config` and this file:", highlight=False)
    terminal.print(result.file, soft_wrap=True, highlight=False, style="cyan")
    terminal.print(f"All trials ({_explain_page()}):", highlight=False)
    terminal.print(result.link, soft_wrap=True, highlight=False, style="cyan")


def _print_result(result: ComparisonResult) -> None:
    report = result.report
    terminal.print()
    title = f"{report.board}, accuracy on {report.test_images} test images"
    rows = report.as_rows()
    told = [name for name in PRINTED_COLUMNS if any(row[name] != "-" for row in rows)]
    terminal.print(_build_table(title, [{name: row[name] for name in told} for row in rows]))
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


@app.command(help=CHECK_EXAMPLES)
def check(
    data: Annotated[str, typer.Argument(help="A folder of images per class, idx:DIR, or the name of a data set.")],
    everything: Annotated[bool, typer.Option("--all", help="Print every example, not only the first ten.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every finding as JSON, for other programs.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Print what is wrong with data."""
    apply_environment(quiet=not debug)
    from triptych.doctor import examine
    from triptych.doctor_page import print_examination
    from triptych.progress import show_progress, track

    if as_json:
        examination = examine(data)
        print(json.dumps(examination.as_json(), indent=2))
    else:
        with show_progress(terminal):
            move = track("read images")
            examination = examine(data, on_image=lambda done, total: move(done, total, ""))
        print_examination(terminal, examination, everything=everything)
    if not examination.can_train:
        raise typer.Exit(EXIT_INPUT)


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


cache_app = typer.Typer(help=CACHE_EXAMPLES, invoke_without_command=True)
app.add_typer(cache_app, name="cache")


@cache_app.callback()
def cache(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print every entry as JSON, for other programs.")] = False,
) -> None:
    """Print the entries of the cache, unless a subcommand follows."""
    from triptych.cache import MEBIBYTE, list_cache
    from triptych.paths import cache_home

    if context.invoked_subcommand:
        return
    entries = list_cache()
    if as_json:
        print(json.dumps([entry.as_row() for entry in entries], indent=2))
        return
    terminal.print(_tabulate_cache(entries))
    size = sum(entry.size_bytes for entry in entries) / MEBIBYTE
    terminal.print(f"{size:,.1f} MiB in {cache_home()}", soft_wrap=True, highlight=False)


def _tabulate_cache(entries: list[CacheEntry]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("kind", "of", "images", "MiB", "last used"):
        left = column in {"kind", "of"}
        table.add_column(column, justify="left" if left else "right", no_wrap=column == "kind", overflow="fold")
    for entry in entries:
        row = entry.as_row()
        images = "-" if entry.images is None else f"{entry.images:,}"
        age = f"{row['unused_days']:.0f} days ago" if row["unused_days"] >= 1 else "today"
        table.add_row(entry.kind, entry.details, images, f"{row['mebibytes']:,.1f}", age)
    return table


@cache_app.command(help=PRUNE_EXAMPLES)
def prune(
    older_than: Annotated[float, typer.Option(help="Days since the last use; 0 deletes all.")] = 30.0,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only these: embeddings, trainings, datasets or splits. Repeatable.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Say what would go, ask, and delete it."""
    from triptych.cache import MEBIBYTE, delete_files, list_cache, select_unused

    files = select_unused(list_cache(kind or ()), older_than)
    found = f"{len(files)} file(s), {sum(file.size_bytes for file in files) / MEBIBYTE:,.1f} MiB"
    unused = f"not used for {older_than:g} days"
    if not files:
        terminal.print(f"nothing in the cache was {unused}", highlight=False)
    elif not yes and not sys.stdin.isatty():
        raise ConfigError(f"{found} in the cache {unused}: nobody can be asked here, so --yes is needed to delete them")
    elif yes or typer.confirm(f"Delete {found} {unused}?"):
        delete_files(files)
        terminal.print(f"deleted {found} {unused}", highlight=False)


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

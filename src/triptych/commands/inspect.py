"""The commands that change nothing: check, show and presets."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from triptych.commands.options import DATA_HELP, DebugOption
from triptych.commands.terminal import EXIT_INPUT, errors, print_table, terminal
from triptych.errors import ConfigError, InputError
from triptych.system.environment import apply_environment
from triptych.system.own_memory import garbage_collection_paused

if TYPE_CHECKING:
    from triptych.tracking.queries import PanelRun, RecordedRun

SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
FIT_SECONDS = "fit_seconds"
SHOWN_METRICS = {
    "accuracy": "test_accuracy",
    "log loss": "test_log_loss",
    "fit time (s)": FIT_SECONDS,
}

CHECK_EXAMPLES = """
Examine a data set before training: unreadable and duplicate images, small classes, stray files.

Exit code 2 means that training would refuse the data.

Examples:

    triptych check ~/photos

    triptych check ~/photos/labels.csv --set data.label_column=species

    triptych check mnist --json | python -m json.tool

    triptych check digits --labels

    triptych check ~/photos --labels --panel mobilenet_v2 --to corrected
"""
SHOW_EXAMPLES = """
Show the last comparison of each board, and its last learning curves.

Examples:

    triptych show

    triptych show --since 24h

    triptych show --json | python -m json.tool
"""
PRESETS_EXAMPLES = """
List the presets: what each one compares, and what it needs.

Example:

    triptych presets
"""


def check(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help=DATA_HELP),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Override a field of data or split: split.seed=3. Repeatable. With --labels also of transfer."
        ),
    ] = None,
    labels: Annotated[bool, typer.Option("--labels", help="List instead the labels that are probably wrong.")] = False,
    panel: Annotated[
        str | None,
        typer.Option(help="With --labels: the pretrained network whose embeddings are used.", show_default=False),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="With --labels: write corrections.csv and a page with the images there."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print every example, not only the first ten.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every finding as JSON.")] = False,
    debug: DebugOption = False,
) -> None:
    """Print what is wrong with a data set."""
    apply_environment(quiet=not debug)
    if labels:
        from triptych.commands.answers.labels import check_labels

        check_labels(data, settings or (), panel=panel, folder=to, as_json=as_json, everything=everything)
        return
    if panel or to:
        raise ConfigError("--panel and --to belong to --labels: add it, or leave them out")
    from triptych.commands.examination import print_examination
    from triptych.config.resolve import resolve_data
    from triptych.data.checks.examine import examine, refuse
    from triptych.system.progress import show_progress, tracking

    sections = resolve_data(data, settings or ())
    if as_json:
        try:
            examination = examine(sections.data, sections.split)
        except InputError as error:
            examination = refuse(sections.data.source, error)
        print(json.dumps(examination.as_json(), indent=2))
    else:
        with show_progress(errors), tracking("read images", passing=True) as move:
            examination = examine(sections.data, sections.split, move)
        print_examination(terminal, examination, everything=everything)
    if not examination.can_train:
        raise typer.Exit(EXIT_INPUT)


def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as JSON.")] = False,
    link: Annotated[bool, typer.Option("--link", help="Print only the links to MLflow's charts.")] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="SPAN", help="Show all comparisons, studies and curves of the last 90m, 24h or 7d."),
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Print the last comparison of each board, or everything since some hours or days ago."""
    apply_environment(quiet=not debug)
    started = None if since is None else datetime.now(UTC) - read_span(since)
    with garbage_collection_paused():
        from triptych.tracking.queries import find_recorded

        found = find_recorded(started)
    if as_json:
        print(json.dumps([asdict(recorded) for recorded in found], indent=2, default=datetime.isoformat))
        return
    if not found:
        when = "yet" if since is None else f"in the last {since}"
        errors.print(f"no comparison {when}: run `triptych compare`")
    for recorded in found:
        if link:
            print(recorded.address)
        else:
            _print_recorded(recorded)


def _print_recorded(recorded: RecordedRun) -> None:
    """Print a comparison, a study or learning curves: name, time and status, the result, and pages that show more."""
    title = f"{recorded.board}, {recorded.role} {recorded.name}: {_describe_status(recorded)}"
    if recorded.panels:
        print_table(title, _tabulate_runs(recorded.panels))
    else:
        terminal.print(title, highlight=False, style="italic", soft_wrap=True)
    lines = [recorded.verdict, *(f"missing: {missing}" for missing in recorded.missing), _explain_mark(recorded.panels)]
    for line in filter(None, lines):
        terminal.print(line, highlight=False, markup=False)
    for address in filter(None, [recorded.address, recorded.flow_run]):
        terminal.print(address, soft_wrap=True, highlight=False, style="cyan")
    terminal.print()


def _describe_status(recorded: RecordedRun) -> str:
    started = recorded.started.astimezone()
    if recorded.ended is None:
        return f"running since {started:%Y-%m-%d %H:%M}"
    seconds = (recorded.ended - recorded.started).total_seconds()
    return f"{recorded.status.lower()}, {started:%Y-%m-%d %H:%M}, {seconds:.0f} s"


def read_span(text: str, option: str = "--since") -> timedelta:
    """Return a span of time from a number and its unit.

    Raises:
        ConfigError: the text is not a span.

    >>> read_span("24h"), read_span("7d")
    (datetime.timedelta(days=1), datetime.timedelta(days=7))
    """
    found = re.fullmatch(r"([0-9]{1,5}(?:\.[0-9]{1,3})?)([smhd])", text)
    if found is None or not float(found[1]):
        raise ConfigError(
            f"{option} {text!r} is not a span: give seconds, minutes, hours or days, such as 2s, 90m, 24h or 7d"
        )
    return timedelta(**{SPANS[found[2]]: float(found[1])})


def _tabulate_runs(runs: list[PanelRun]) -> list[dict[str, str]]:
    ranked = sorted(runs, key=lambda run: -run.metrics.get("test_accuracy", 0.0))
    return [
        {"panel": run.label, "repeat": str(run.repeat), "status": run.status}
        | {name: _format_metric(run, key) for name, key in SHOWN_METRICS.items()}
        for run in ranked
    ]


def _format_metric(run: PanelRun, key: str) -> str:
    """Return a metric as text; a time of an earlier training is marked, as in reports."""
    if key not in run.metrics:
        return "-"
    return f"{run.metrics[key]:.4f}{'*' if run.restored_epochs and key == FIT_SECONDS else ''}"


def _explain_mark(runs: list[PanelRun]) -> str:
    """Return what the mark of a time means, if there is one."""
    marked = any(run.restored_epochs and FIT_SECONDS in run.metrics for run in runs)
    return "* restored from an earlier, identical training, with its time" if marked else ""


def presets(debug: DebugOption = False) -> None:
    """Print the table of presets."""
    apply_environment(quiet=not debug)
    from triptych.config.presets import PRESETS

    table = Table()
    for column in ("preset", "compares", "board", "panels", "needs"):
        table.add_column(column, overflow="fold")
    for name, preset in PRESETS.items():
        boards = "\n".join(board.name for board in preset.boards)
        panels = "\n".join(f"{', '.join(board.panels)} x {board.repeats}" for board in preset.boards)
        table.add_row(name, preset.summary, boards, panels, preset.needs)
    terminal.print(table)

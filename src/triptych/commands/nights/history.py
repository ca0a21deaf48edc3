"""The command `history`: what changed from night to night, and is the last one worse than chance explains?"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.commands.inspect import read_span
from triptych.commands.models import check_target, open_page
from triptych.commands.options import DebugOption
from triptych.commands.terminal import EXIT_FAILURE, build_table, errors, explain_page, terminal
from triptych.errors import ConfigError
from triptych.system.environment import apply_environment
from triptych.system.own_memory import garbage_collection_paused

if TYPE_CHECKING:
    from triptych.evaluation.history.page import BoardHistory

EXAMPLES = """
Show the nights of a board: accuracies, champions, refusals, data and failures by date.

With --check the exit code is 1 if a panel is worse in the last night than the recent nights say is chance.

Examples:

    triptych history

    triptych history photos-bees-1a2b3c --since 90d --open

    triptych history --check

    triptych history digits --json | python -m json.tool
"""
# The last changes are printed unless --since asks for those of a time.
FEW = 10


def history(
    board: Annotated[str | None, typer.Argument(metavar="BOARD", help="A board; all of them by default.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="SPAN", help="Show the nights of the last 24h, 7d or 90d only.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    to: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the page there, and print its path.")] = None,
    show: Annotated[bool, typer.Option("--open", help="Also open the page in the browser.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with code 1 if the last night is worse than chance explains.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Print the nights, or write them to a page."""
    check_target(to)
    apply_environment(quiet=not debug)
    start = None if since is None else datetime.now(UTC) - read_span(since)
    with garbage_collection_paused():
        from triptych.evaluation.history.page import select_since
        from triptych.tracking.history.boards import find_histories

        histories = find_histories(board)
        if start is not None:
            shown = [select_since(one, start.timestamp()) for one in histories]
            histories = [one for one in shown if one is not None]
    if not histories:
        raise ConfigError(f"no comparison in the last {since}: give a longer --since, or leave it out")
    if as_json:
        print(json.dumps([one.as_json() for one in histories], indent=2))
    elif to or show:
        _write(histories, to, show=show)
    else:
        for one in histories:
            _print(one, None if since else FEW)
    if check and (worse := [one for one in histories if one.alarms]):
        text = "; ".join(f"{one.board}, {one.nights[-1].date}: {'; '.join(one.alarms)}" for one in worse)
        errors.print(f"triptych: {text}")
        raise typer.Exit(EXIT_FAILURE)


def _write(histories: list[BoardHistory], to: Path | None, *, show: bool) -> None:
    from triptych.evaluation.history.page import render_history_page
    from triptych.system.files import replace_atomically, writing_to
    from triptych.system.paths import cache_home

    file = to.resolve() if to else cache_home() / "reports" / "history.html"
    with writing_to(file), replace_atomically(file) as partial:
        partial.write_text(render_history_page(histories), encoding="utf-8")
    terminal.print(str(file), soft_wrap=True, highlight=False)
    if show:
        open_page(file)


def _print(one: BoardHistory, most: int | None) -> None:
    from triptych.evaluation.history.page import LEGEND, build_panel_rows

    first, rows = one.nights[0].date, build_panel_rows(one)
    terminal.print(build_table(f"{one.board}, nights since {first}: {len(one.nights):,}", rows))
    if rows:
        terminal.print(LEGEND, style="dim", highlight=False, soft_wrap=True)
    terminal.print(one.summary, style="bold", highlight=False, soft_wrap=True)
    for change in one.changes[-most:] if most else one.changes:
        terminal.print(f"- {change.night.date}, {change.kind}: {change.text}", highlight=False, soft_wrap=True)
    if one.link:
        terminal.print(f"All nights as a chart in MLflow ({explain_page()}):", soft_wrap=True, highlight=False)
        terminal.print(one.link, soft_wrap=True, highlight=False, style="cyan")

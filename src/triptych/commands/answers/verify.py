"""The command `verify`: is a run what its record says?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.commands.options import DebugOption
from triptych.commands.terminal import EXIT_FAILURE, errors, print_table, terminal
from triptych.system.environment import apply_environment

if TYPE_CHECKING:
    from triptych.tracking.verification.verify import Verification

EXAMPLES = """
Train a run's panels again from its record alone, and say whether the predictions are the same.

The answer is: the same bits, the same to 1e-6, or different, and what differs from the record.

Exit code 1 means different.

Examples:

    triptych verify 20260101-030000-abc123

    triptych verify digits@champion --record-only
"""


def verify(
    reference: Annotated[
        str, typer.Argument(metavar="RUN", help="A comparison, the id of a run, or a registered model.")
    ],
    record_only: Annotated[
        bool, typer.Option("--record-only", help="Compare hashes of data, code and files, and train nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as JSON.")] = False,
    debug: DebugOption = False,
) -> None:
    """Print the answer about each panel."""
    apply_environment(quiet=not debug)
    from triptych.system.progress import show_progress, tracking

    with show_progress(errors):
        with tracking(f"find {reference}", passing=True):
            from triptych.tracking.verification.verify import find_runs, verify_runs

            runs = find_runs(reference)
        verified = verify_runs(runs, record_only=record_only)
    if as_json:
        print(json.dumps([{**asdict(one), "answer": one.answer, "holds": one.holds} for one in verified], indent=2))
    else:
        _print(verified)
    if not all(one.holds for one in verified):
        raise typer.Exit(EXIT_FAILURE)


def _print(verified: list[Verification]) -> None:
    """Print a row for each panel, and below what differs, with the panels that it concerns."""
    rows = [
        {
            "panel": one.label,
            "answer": one.answer,
            "largest difference": "-" if one.largest is None else f"{one.largest:.3g}",
        }
        for one in verified
    ]
    print_table("verification", rows)
    concerned: dict[str, list[str]] = {}
    for one in verified:
        for difference in one.differences:
            concerned.setdefault(str(difference), []).append(one.label)
    for text, labels in concerned.items():
        terminal.print(f"- {text} ({', '.join(labels)})", highlight=False, soft_wrap=not terminal.is_terminal)

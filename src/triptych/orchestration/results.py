"""The results of a flow's tasks, or the errors of those that failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed

from triptych.errors import IncompleteError, InputError, describe_error
from triptych.evaluation.report import ComparisonResult, EvaluatedPanel, MissingPanel
from triptych.orchestration.interrupts import interrupts
from triptych.training.jobs import PanelJob

if TYPE_CHECKING:
    from triptych.tuning.results import TuningResult

# What became of the best panel of a comparison, by `ComparisonResult.state`.
FATES = {
    "new": "new champion",
    "same": "champion kept",
    "refused": "challenger refused",
    "waiting": "challenger waits for approval",
    "": "no champion chosen",
}

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def collect_results(futures: Sequence[PrefectFuture[Result]], after: Sequence[PrefectFuture[Any]]) -> list[Result]:
    """Wait for all tasks and return their results, or raise the error of the first that failed.

    Args:
        futures: the tasks whose results are returned.
        after: the tasks that they depend on, whose own errors are raised instead of "an upstream task failed".
    """
    interrupts.wait([*after, *futures])
    for future in after:
        future.result()
    return [future.result() for future in futures]


@dataclass(frozen=True)
class SubmittedPanel:
    """One repeat of a panel whose tasks were submitted.

    Attributes:
        job: the panel and its repeat.
        steps: all tasks that it depends on, the evaluation last.
    """

    job: PanelJob
    steps: list[PrefectFuture[Any]]


def collect_panels(submitted: Sequence[SubmittedPanel]) -> tuple[list[EvaluatedPanel], list[MissingPanel]]:
    """Wait for all tasks; return the panels that were evaluated, and those that are missing.

    Raises:
        Exception: no panel was evaluated; it is the error of the first panel.
    """
    interrupts.wait([step for panel in submitted for step in panel.steps])
    panels, missing, errors = [], [], []
    for panel in submitted:
        # The error of the first step, because the others only say that an upstream task failed.
        error = next((error for step in panel.steps if (error := _find_error(step))), None)
        if error is None:
            panels.append(panel.steps[-1].result())
        else:
            errors.append(error)
            missing.append(MissingPanel(panel.job.run_label, describe_error(error), isinstance(error, InputError)))
    if not panels:
        raise errors[0]
    return panels, missing


def require_panels(results: Sequence[object], missing: Sequence[MissingPanel]) -> None:
    """Check that no panel is missing.

    Args:
        results: the results, which are recorded already.
        missing: the panels without a result.

    Raises:
        IncompleteError: a panel is missing.
    """
    if missing:
        bad_input = any(panel.bad_input for panel in missing)
        raise IncompleteError(f"all done except {_group_by_reason(missing)}", results, bad_input=bad_input)


def attempt(
    step: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result | Exception:
    """Return the result of a part of a flow, or its error, so that the other parts continue."""
    try:
        return step(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - `require_all` raises it
        return error


def require_all(outcomes: Mapping[str, Result | Exception]) -> list[Result]:
    """Return the results of all parts of a flow, which are recorded already.

    Args:
        outcomes: results and errors by the names of the parts.

    Raises:
        Exception: no part has a result; it is the error of the first part.
        IncompleteError: some parts failed, or a comparison lacks a panel.
    """
    results = [outcome for outcome in outcomes.values() if not isinstance(outcome, Exception)]
    errors = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Exception)}
    if errors and not results:
        raise next(iter(errors.values()))
    missing = [
        MissingPanel(name, describe_error(error), isinstance(error, InputError)) for name, error in errors.items()
    ]
    missing += [panel for result in results if isinstance(result, ComparisonResult) for panel in result.report.missing]
    require_panels(results, missing)
    return results


def end_flow(
    outcomes: Mapping[str, Result | Exception], describe: Callable[[Result], Sequence[str]], *, paused: bool = False
) -> Any:
    """Return the final state of a flow, whose message says what came out of it, as Prefect's page shows it.

    As the return value of a flow it is replaced by the results, or the error is raised.

    Args:
        outcomes: results and errors by the names of the parts.
        describe: returns a few sentences about a result.
        paused: whether the flow run may have waited for an answer; after a timeout Prefect has ended it, and takes no
            other state.

    Raises:
        Exception: no part has a result; it is the error of the first part.
    """
    if paused:
        return require_all(outcomes)
    results = [outcome for outcome in outcomes.values() if not isinstance(outcome, Exception)]
    lines = [line for result in results for line in describe(result)]
    try:
        return Completed(message="\n".join(lines), data=require_all(outcomes))
    except IncompleteError as error:
        return Failed(message="\n".join([*lines, str(error)]), data=error)


def describe_comparison(result: ComparisonResult) -> list[str]:
    """Return the verdict of a comparison, and what became of the best panel and the champion."""
    board = result.report.board
    return [f"{board}: {result.report.verdict}", f"{board}: {FATES[result.state]}: {result.promotion}"]


def describe_study(result: TuningResult) -> list[str]:
    """Return the verdict of a study."""
    return [result.findings.verdict]


def _group_by_reason(missing: Sequence[MissingPanel]) -> str:
    labels: dict[str, list[str]] = {}
    for panel in missing:
        labels.setdefault(panel.reason, []).append(panel.label)
    return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in labels.items())


def _find_error(future: PrefectFuture[Any]) -> Exception | None:
    try:
        future.result()
    except Exception as error:  # noqa: BLE001 - the other panels are compared
        return error
    return None

"""The tags of this project on runs and registered versions, which all have the prefix `triptych.`.

Code uses their names without the prefix: `own_tags` adds it, `read_tags` removes it. Version 0.1.0 wrote tags without
the prefix; its comparisons, studies and champions are still found and read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mlflow
from mlflow.entities import LoggedModel, Run, RunTag
from mlflow.entities.model_registry import ModelVersion

PREFIX = "triptych."
# Namespaces of others, which stay as they are.
FOREIGN = ("mlflow.", "prefect.")
# Where a tag may be: with the prefix, or, as version 0.1.0 wrote it, without.
PREFIXES = (PREFIX, "")
# The most that MLflow returns for one search.
MOST = 50_000
RUNNING = "attributes.status = 'RUNNING'"

# What a run is: "comparison", "panel", "study", "trial", "amount" or "history".
ROLE = "role"
BOARD, COMPARISON, PANEL, LABEL, REPEAT = "board", "comparison", "panel", "label", "repeat"
# The file of a study's trials: two studies of one name may have different ones.
JOURNAL = "journal"
STUDY, TRIAL, OUTCOME, DIVERGED = "study", "trial", "outcome", "diverged"
TRAINED_EPOCHS, TRIALS, BEST_TRIAL = "trained_epochs", "trials", "best_trial"
SPLIT_ID, TEST_SET = "split_id", "test_set"
# A hash of everything that the results of a comparison depend on.
IDENTITY = "identity"
# Drawn anew for each run and each version that is created.
CREATION = "creation"
# The machine that is working on a run, or did so last.
HOST = "host"
# The process that is working on a run; see `triptych.tracking.leases`.
LEASE = "lease"
# The flow run that is working on a run, or did so last.
FLOW_RUN, FLOW_RUN_URL = "prefect.flow_run_id", "prefect.flow_run_url"
# Set on a panel's run with its model: enough to continue without training again.
MODEL, RESTORED = "model_uri", "restored_epochs"
# Set on a logged model: the name of the one that has the frozen network which it refers to; empty if it has all itself.
TRUNK = "backbone"
# Set on a run that was continued after an interruption.
RESUMED = "resumed"
# Set on a panel's run that has all its final metrics and predictions.
EVALUATED, RELOAD_DIFFERENCE = "evaluated", "reload_difference"
# Of a comparison: the codes of what was found about its models.
FINDINGS = "findings"
# What the metrics of a panel depend on besides its training.
EVALUATION = "evaluation"
# Of a comparison, followed by a panel and a repeat: the run of an earlier comparison that it shares.
SHARED = "shared."
# Set on a panel's run that is a cross-validation.
FOLDS = "folds"
# Set on a comparison with its report: nothing is left to do.
REPORTED = "reported"
# Of a registered version: the version that was champion before it, which `rollback` goes back to.
PREVIOUS = "previous_champion"
# Of a registered version: why it became champion, or did not.
DECISION = "promotion"
# Of a registered version: when it became champion, and what a promotion waits for.
SINCE, APPROVAL = "champion_since", "approval"
# Of a board, with the number of a version: that the test set was opened to decide on it, and what it spent.
LOOK = "look"
# Of a registered version: copied from its run, for MLflow's page.
TEST_ACCURACY = "test_accuracy"


def own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags as they are written: those of this project with its prefix.

    >>> own_tags({"panel": "numpy-mlp", "mlflow.note.content": "a note"})
    {'triptych.panel': 'numpy-mlp', 'mlflow.note.content': 'a note'}
    """
    return {name if name.startswith(FOREIGN) else PREFIX + name: value for name, value in tags.items()}


def read_tags(tagged: Run | ModelVersion | LoggedModel) -> dict[str, str]:
    """Return the tags of a run, a registered version or a logged model, those of this project without the prefix."""
    tags: Mapping[str, str] = tagged.data.tags if isinstance(tagged, Run) else tagged.tags
    return {**tags, **{name.removeprefix(PREFIX): value for name, value in tags.items() if name.startswith(PREFIX)}}


def set_tags(client: mlflow.MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Write some tags of a run in one call."""
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in own_tags(tags).items()])


def list_shared(comparison: Run) -> dict[str, str]:
    """Return the runs of earlier comparisons that a comparison shares, by PANEL.REPEAT."""
    tags = read_tags(comparison)
    return {name.removeprefix(SHARED): run for name, run in tags.items() if name.startswith(SHARED)}


def count_epochs(panel: Run) -> int:
    """Return the number of epochs that a panel was trained for, of a run that has its model."""
    return int(read_tags(panel)[TRAINED_EPOCHS].partition(" ")[0])


def select(tags: Mapping[str, str], prefix: str = PREFIX) -> str:
    """Return the filter for runs that have all of some tags of this project.

    Args:
        tags: values by name, without quotation marks.
        prefix: one of `PREFIXES`.

    >>> select({"role": "panel"})
    "tags.`triptych.role` = 'panel'"
    """
    return " and ".join(f"tags.`{prefix}{name}` = '{value}'" for name, value in tags.items())


def search(
    client: mlflow.MlflowClient,
    experiments: Sequence[str],
    tags: Mapping[str, str],
    *,
    without: str = "",
    where: str = "",
    most: int = MOST,
) -> list[Run]:
    """Return the runs that have all of some tags of this project, whichever version wrote them; the newest first.

    The store selects them, so that a search costs what it finds, not what there is. MLflow's filters have no "or", so
    there are two searches.

    Args:
        client: of the tracking store.
        experiments: MLflow's ids of the experiments to search.
        tags: values by name.
        without: a tag that the runs don't have.
        where: more of MLflow's filter, about attributes, such as `RUNNING`.
        most: as many runs are returned at most.
    """
    found: dict[str, Run] = {}
    for prefix in PREFIXES:
        absent = f"tags.`{prefix}{without}` IS NULL" if without else ""
        query = " and ".join(filter(None, (select(tags, prefix), absent, where)))
        order = ["attributes.start_time DESC"]
        runs = client.search_runs(list(experiments), query, max_results=most, order_by=order)
        found |= {run.info.run_id: run for run in runs}
    return sorted(found.values(), key=lambda run: -run.info.start_time)[:most]

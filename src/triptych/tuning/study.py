"""Hyperparameter tuning: where a study is stored, which worker runs which trial, and how a trial is scored.

Optuna samples, prunes and stores. Trials are scored on the validation set; the test set is not used.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna import Study, Trial
from optuna.distributions import distribution_to_json
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from triptych.config.names import spell_safely
from triptych.config.trainers import PanelConfig
from triptych.data.boards import PreparedBoard
from triptych.errors import ConfigError, DivergenceError
from triptych.panels.kinds import find_kind
from triptych.system.paths import cache_home
from triptych.system.processes import ProcessMark
from triptych.training.epochs import EpochMetrics, OnEpoch
from triptych.training.loop import find_best_epoch
from triptych.tuning.journal import CheckedJournal
from triptych.tuning.search_spaces import Space, find_space, select_fixed, select_known

Fit = Callable[[Any, OnEpoch], object]
DIRECTIONS: dict[str, Literal["minimize", "maximize"]] = {"val_loss": "minimize", "val_accuracy": "maximize"}
# Fields that do not change a result, except by rounding.
NOT_IDENTIFYING = {
    *("checkpoint_epochs", "threads", "processes"),
    *("cache_embeddings", "embedding_batch_size", "embedding_threads"),
}

# A median over fewer trials says little.
TRIALS_BEFORE_PRUNING = 5
EPOCHS_BEFORE_PRUNING = 3
SETTLED = (TrialState.COMPLETE, TrialState.PRUNED)
ASKED_OR_SETTLED = (TrialState.WAITING, *SETTLED)
# User attributes of trials and studies. The first one marks the trial with the panel's configured setting.
OWN = "own_setting"
WANTED_TRIALS = "wanted_trials"
OUTCOME = "outcome"
# The process that runs a trial.
PROCESS = "process"


@dataclass(frozen=True)
class TrialOutcome:
    """The result of a trial.

    Attributes:
        state: `complete`, `pruned` (worse than the median of the other trials) or `diverged`.
        score: the monitored metric of its best epoch; None if no epoch was measured.
        epochs: number of epochs trained.
        reason: the error message if it diverged.
    """

    state: Literal["complete", "pruned", "diverged"]
    score: float | None
    epochs: int
    reason: str = ""


def check_validation(prepared: PreparedBoard) -> None:
    """Check that a board has a validation set, on which settings are chosen.

    Raises:
        ConfigError: the validation set is empty, or each fold has another one.
    """
    if folds := prepared.config.split.folds:
        raise ConfigError(f"split.folds={folds} has no single validation set to tune on: set split.folds=0")
    if not prepared.sizes["validation"]:
        raise ConfigError(
            f"tuning needs a validation set, but it is empty on board {prepared.config.name}: "
            "set split.validation_fraction, for instance --set split.validation_fraction=0.2"
        )


def identify_study(prepared: PreparedBoard, panel: str) -> str:
    """Return the name of a study: its board, panel and split, and a hash of the search space and what is fixed.

    The values of searched fields are not hashed, so a tuned setting identifies the study that it came from. The studies
    of a folder that grows differ only in the id of the split.
    """
    space, section = find_space(prepared.config, panel, prepared.sizes["train"]), prepared.config.settings_of(panel)
    uses_pixels = find_kind(prepared.config, panel).input == "thumbnails"
    depends_on = {
        "space": {name: distribution_to_json(distribution) for name, distribution in space.items()},
        "fixed": section.model_dump(mode="json", exclude={*space, *NOT_IDENTIFYING}) | select_fixed(section),
        "pixels": prepared.dataset_folder.name.partition("-")[2] if uses_pixels else "",
    }
    # Without weights, studies have the names that earlier versions gave them.
    if prepared.config.class_weights != "none":
        depends_on |= {"class_weights": prepared.config.class_weights}
    if networks := prepared.config.select_networks(panel):
        depends_on |= {"networks": networks}
    if prepared.grows:
        data = prepared.config.data
        depends_on |= {"source": data.source, "split": prepared.config.split.model_dump(mode="json")}
        depends_on |= {"columns": data.columns} if data.columns else {}
    digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()
    return f"{prepared.config.name}-{spell_safely(panel)}-{prepared.split_id}-{digest[:12]}"


def find_earlier_studies(prepared: PreparedBoard, panel: str) -> list[str]:
    """Return the names of a panel's studies of earlier states of a folder that grew, the newest first.

    They have the same settings of the split, so that what was validation or test set then is so now.
    """
    if not prepared.grows:
        return []
    own = identify_study(prepared, panel)
    start, end = own.split(prepared.split_id)
    files = study_file("").parent.glob(f"{start}{'[0-9a-f]' * len(prepared.split_id)}{end}.journal")
    return [
        file.stem for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True) if file.stem != own
    ]


def study_file(name: str) -> Path:
    """Return the file of a study."""
    return cache_home() / "studies" / f"{name}.journal"


def identify_journal(name: str) -> str:
    """Return what tells the file of a study from another one of the same name, as after the cache was emptied.

    The first line of the file, which is never changed, has a random id of the process that created the study.
    """
    with study_file(name).open("rb") as file:
        return hashlib.sha256(file.readline()).hexdigest()[:12]


def open_storage(name: str) -> JournalStorage:
    """Return Optuna's storage for a study; it creates the file if there is none.

    Raises:
        DamagedFileError: the file is not what was written.
        StorageError: the file cannot be written.
    """
    # Unlike SQLite, it supports several writers.
    return JournalStorage(CheckedJournal(study_file(name)))


def load_study(name: str) -> Study:
    """Return a study, which must exist, to read its trials."""
    return optuna.load_study(study_name=name, storage=open_storage(name))


def open_study(prepared: PreparedBoard, panel: str) -> Study:
    """Return the study of a panel, to run trials; it is created if there is none."""
    name = identify_study(prepared, panel)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=name,
        storage=open_storage(name),
        direction=DIRECTIONS[prepared.config.settings_of(panel).monitor],
        pruner=MedianPruner(n_startup_trials=TRIALS_BEFORE_PRUNING, n_warmup_steps=EPOCHS_BEFORE_PRUNING),
        load_if_exists=True,
    )


def prepare_study(prepared: PreparedBoard, panel: str, trials: int, workers: int) -> tuple[range, ...]:
    """Open a study, and divide the trials that it lacks among workers.

    The first trial has the panel's configured setting, as far as the search space contains it, so that the best trial
    is at least as good on the validation set. If that trial was interrupted, it is run again.

    Args:
        prepared: the board.
        panel: the panel to tune.
        trials: number of settled trials that the study should have, including those of earlier calls.
        workers: maximum number of workers in parallel.

    Returns:
        For each worker a range of trial indices, none of them empty.
    """
    study = open_study(prepared, panel)
    fail_dead_trials(study)
    study.set_user_attr(WANTED_TRIALS, trials)
    if not any(trial.user_attrs.get(OWN) for trial in study.get_trials(deepcopy=False, states=ASKED_OR_SETTLED)):
        own = select_known(
            find_space(prepared.config, panel, prepared.sizes["train"]), prepared.config.settings_of(panel)
        )
        study.enqueue_trial(own, user_attrs={OWN: True})
    missing = range(len(list_settled(study)), trials)
    return tuple(missing[worker::workers] for worker in range(min(workers, len(missing))))


def fail_dead_trials(study: Study) -> None:
    """Fail the trials whose process was killed: while they count as running, they change what is suggested."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        process = ProcessMark.read(trial.user_attrs.get(PROCESS, ""))
        if process is None or (process.is_local and not process.exists()):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def list_failed(study: Study) -> list[int]:
    """Return the numbers of the trials that were interrupted."""
    return [trial.number for trial in study.get_trials(deepcopy=False, states=(TrialState.FAIL,))]


def list_settled(study: Study) -> list[FrozenTrial]:
    """Return the trials that are complete, pruned or diverged, but not those that were interrupted."""
    return study.get_trials(deepcopy=False, states=SETTLED)


@contextmanager
def ask_trial(study: Study, space: Space, index: int) -> Iterator[Trial]:
    """Yield a new trial with suggested parameters; if the block raises, the trial is failed and replaced later.

    Args:
        study: the study.
        space: the search space.
        index: index of the trial among the planned ones; it seeds the sampler, so that a resumed study gets the same
            suggestions as an uninterrupted one.
    """
    study.sampler = TPESampler(seed=index)
    trial = study.ask(space)
    trial.set_user_attr(PROCESS, str(ProcessMark.of_this_process()))
    try:
        yield trial
    except BaseException:
        study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        raise


def train_trial(trial: Trial, settings: PanelConfig, fit: Fit, on_epoch: OnEpoch) -> TrialOutcome:
    """Train with a suggested setting; return the result on the validation set.

    Args:
        trial: receives the score of every epoch, and decides about pruning.
        settings: the suggested setting.
        fit: trains the panel; called with the settings and a callback for each epoch.
        on_epoch: called with the metrics of each epoch.
    """
    curve: list[EpochMetrics] = []

    def report(metrics: EpochMetrics) -> None:
        on_epoch(metrics)
        score = metrics.values()[settings.monitor]
        if not math.isfinite(score):
            raise DivergenceError(f"{settings.monitor} is {score} after epoch {metrics.epoch}")
        curve.append(metrics)
        trial.report(score, metrics.epoch)
        if metrics.epoch < metrics.epochs and trial.should_prune():
            raise optuna.TrialPruned

    try:
        fit(settings, report)
    except optuna.TrialPruned:
        return _conclude("pruned", curve, settings)
    except DivergenceError as error:
        return replace(_conclude("diverged", curve, settings), reason=str(error))
    return _conclude("complete", curve, settings)


def _conclude(
    state: Literal["complete", "pruned", "diverged"], curve: list[EpochMetrics], settings: PanelConfig
) -> TrialOutcome:
    best = curve[find_best_epoch(curve, settings.monitor) - 1].values()[settings.monitor] if curve else None
    return TrialOutcome(state, best, len(curve))


def store_outcome(study: Study, trial: Trial, outcome: TrialOutcome) -> None:
    """Store the result of a trial in the study.

    A diverged trial is stored as pruned, because Optuna's sampler learns nothing from failed trials.
    """
    trial.set_user_attr(OUTCOME, {"state": outcome.state, "score": outcome.score, "epochs": outcome.epochs})
    if outcome.state == "complete":
        study.tell(trial, outcome.score)
    else:
        study.tell(trial, state=TrialState.PRUNED)

"""Hyper-parameter tuning: where a study is kept, who runs which trial, and what one trial is worth.

Optuna samples, prunes and stores. Every trial is judged on the validation part; the test part stays closed.
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
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from triptych.config.trainers import PanelConfig
from triptych.data.boards import PreparedBoard
from triptych.errors import ConfigError, DivergenceError
from triptych.panels.kinds import find_kind
from triptych.system.paths import cache_home
from triptych.training.epochs import EpochMetrics, OnEpoch
from triptych.training.loop import find_best_epoch
from triptych.tuning.search_spaces import Space, find_space, list_fixed, select_known

Fit = Callable[[Any, OnEpoch], object]
DIRECTIONS: dict[str, Literal["minimize", "maximize"]] = {"val_loss": "minimize", "val_accuracy": "maximize"}
# What a result does not depend on, or only by rounding.
NOT_IDENTIFYING = {
    *("checkpoint_epochs", "threads", "processes"),
    *("cache_embeddings", "embedding_batch_size", "embedding_threads"),
}

# Before that many trials have ended there is no median worth the name.
TRIALS_BEFORE_PRUNING = 5
EPOCHS_BEFORE_PRUNING = 3
SETTLED = (TrialState.COMPLETE, TrialState.PRUNED)
ASKED_OR_SETTLED = (TrialState.WAITING, *SETTLED)
# Marks the trial with the panel's own setting.
OWN = "own_setting"
WANTED_TRIALS = "wanted_trials"
OUTCOME = "outcome"


@dataclass(frozen=True)
class TrialOutcome:
    """What a trial came to.

    Attributes:
        state: `complete`; `pruned`, as it was worse than the median of the others; or `diverged`.
        score: the monitored figure of its best epoch; None where no epoch was measured.
        epochs: how many epochs it lasted.
        reason: what went wrong, where it diverged.
    """

    state: Literal["complete", "pruned", "diverged"]
    score: float | None
    epochs: int
    reason: str = ""


def check_validation(prepared: PreparedBoard) -> None:
    """Raise where there is nothing that a setting could be chosen on.

    Raises:
        ConfigError: the validation part is empty.
    """
    if not prepared.sizes["validation"]:
        raise ConfigError(
            f"tuning chooses on the validation part, which is empty on board {prepared.config.name}: "
            "set split.validation_fraction, for instance --set split.validation_fraction=0.2"
        )


def identify_study(prepared: PreparedBoard, panel: str) -> str:
    """Return the name of a study: its board, panel and split, and a hash of what may vary and what is held fixed.

    Whatever is searched does not count, so that a tuned setting leads to the study that it came from.
    """
    space, section = find_space(prepared.config, panel), prepared.config.settings_of(panel)
    uses_pixels = find_kind(prepared.config, panel).input == "thumbnails"
    depends_on = {
        "space": {name: distribution_to_json(distribution) for name, distribution in space.items()},
        "fixed": section.model_dump(mode="json", exclude={*space, *NOT_IDENTIFYING}) | list_fixed(section),
        "pixels": prepared.dataset_folder.name if uses_pixels else "",
    }
    digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()
    return f"{prepared.config.name}-{panel}-{prepared.split_id}-{digest[:12]}"


def study_file(name: str) -> Path:
    """Return where a study is kept."""
    return cache_home() / "studies" / f"{name}.journal"


def open_study(prepared: PreparedBoard, panel: str) -> Study:
    """Return the study of a panel on a board, with the trials that it has so far."""
    name = identify_study(prepared, panel)
    file = study_file(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=name,
        # Unlike sqlite it takes several writers, and unlike a symbolic link its lock works on every system.
        storage=JournalStorage(JournalFileBackend(str(file), JournalFileOpenLock(str(file)))),
        direction=DIRECTIONS[prepared.config.settings_of(panel).monitor],
        pruner=MedianPruner(n_startup_trials=TRIALS_BEFORE_PRUNING, n_warmup_steps=EPOCHS_BEFORE_PRUNING),
        load_if_exists=True,
    )


def prepare_study(prepared: PreparedBoard, panel: str, trials: int, workers: int) -> tuple[range, ...]:
    """Open a study and return what each worker has to do for it to have `trials` settled trials in all.

    The panel's own setting, as far as the search space holds it, is the first trial of a study, and tried again where
    it was interrupted: what comes out is no worse than that on validation.

    Args:
        prepared: the board.
        panel: the panel to tune.
        trials: how many trials are wanted, with those of earlier calls.
        workers: how many work side by side.

    Returns:
        Ranges of trial indices, none of them empty.
    """
    study = open_study(prepared, panel)
    study.set_user_attr(WANTED_TRIALS, trials)
    if not any(trial.user_attrs.get(OWN) for trial in study.get_trials(deepcopy=False, states=ASKED_OR_SETTLED)):
        own = select_known(find_space(prepared.config, panel), prepared.config.settings_of(panel))
        study.enqueue_trial(own, user_attrs={OWN: True})
    missing = range(len(list_settled(study)), trials)
    return tuple(missing[worker::workers] for worker in range(min(workers, len(missing))))


def list_settled(study: Study) -> list[FrozenTrial]:
    """Return the trials that count: complete, pruned or diverged, but not those that were interrupted."""
    return study.get_trials(deepcopy=False, states=SETTLED)


@contextmanager
def ask_trial(study: Study, space: Space, index: int) -> Iterator[Trial]:
    """Yield a new trial with a suggestion; it counts as failed, and is made up for later, if the block raises.

    Args:
        study: the study.
        space: what may be chosen.
        index: of the trial among those that are planned; it seeds the sampler, so that a study which was
            continued goes on as if it had never stopped.
    """
    study.sampler = TPESampler(seed=index)
    trial = study.ask(space)
    try:
        yield trial
    except BaseException:
        study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        raise


def train_trial(trial: Trial, settings: PanelConfig, fit: Fit, on_epoch: OnEpoch) -> TrialOutcome:
    """Train with a suggested setting and return what came of it on the validation part.

    Args:
        trial: is told of every epoch.
        settings: what to train with.
        fit: trains; called with the settings and a callback for each epoch.
        on_epoch: called with the metrics of each epoch.
    """
    curve: list[EpochMetrics] = []

    def judge(metrics: EpochMetrics) -> None:
        on_epoch(metrics)
        score = metrics.values()[settings.monitor]
        if not math.isfinite(score):
            raise DivergenceError(f"{settings.monitor} is {score} after epoch {metrics.epoch}")
        curve.append(metrics)
        trial.report(score, metrics.epoch)
        if metrics.epoch < metrics.epochs and trial.should_prune():
            raise optuna.TrialPruned

    try:
        fit(settings, judge)
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


def tell_outcome(study: Study, trial: Trial, outcome: TrialOutcome) -> None:
    """Store what a trial came to.

    For Optuna a diverged trial is a pruned one: a failed one would teach the sampler nothing.
    """
    trial.set_user_attr(OUTCOME, {"state": outcome.state, "score": outcome.score, "epochs": outcome.epochs})
    if outcome.state == "complete":
        study.tell(trial, outcome.score)
    else:
        study.tell(trial, state=TrialState.PRUNED)

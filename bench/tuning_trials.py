"""What trials cost: a hundred of a head against one embedding pass, and one in MLflow besides its training."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from measure import Figure

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.orchestration.trials import TrialRunner, make_job
from triptych.system.paths import cache_home
from triptych.tracking.runs import close_runs
from triptych.tracking.studies import start_study
from triptych.tracking.tags import FLOW_RUN
from triptych.training.epochs import OnEpoch
from triptych.transfer.plan import embed_board, plan_board
from triptych.transfer.records import collect_embeddings, count_shards
from triptych.tuning.search_spaces import find_space
from triptych.tuning.study import (
    ask_trial,
    identify_study,
    list_settled,
    open_study,
    prepare_study,
    store_outcome,
    train_trial,
)
from triptych.tuning.trainers import load_trainer

SECTION, TRIALS, TARGET = "transfer", 100, 1.0
LOGGED_TRIALS, MOST_SECONDS = 20, 0.05


def measure_trials(data: BoardData, panel: str, forget: Callable[[], None], *, quick: bool) -> Figure:
    """Compare the time of the trials with that of embedding all images into an empty store.

    Args:
        data: the board.
        panel: the name of the pretrained network.
        forget: empties the store.
        quick: run a fifth of the trials and multiply the seconds.
    """
    forget()
    plan = plan_board(data, data.prepared.config.backbone_panels)
    started = time.perf_counter()
    shards = range(count_shards(len(data.images)))
    records = collect_embeddings(plan, [embed_board(data, plan, shards, lambda done, total: None)])
    embedding_seconds = time.perf_counter() - started
    trials = TRIALS // 5 if quick else TRIALS
    shutil.rmtree(cache_home() / "studies", ignore_errors=True)
    fit = load_trainer(data, panel, records)
    prepare_study(data.prepared, panel, trials, 1)
    started = time.perf_counter()
    space = find_space(data.prepared.config, panel, data.prepared.sizes["train"])
    study = open_study(data.prepared, panel)
    for index in range(trials):
        with ask_trial(study, space, index) as trial:
            job = make_job(data.prepared, panel, trial.params)
            store_outcome(study, trial, train_trial(trial, job.settings, fit, lambda metrics: None))
    seconds = (time.perf_counter() - started) * TRIALS / trials
    settled = list_settled(study)
    # The first trial has the panel's own settings, so the best one cannot be worse.
    own = settled[0].value if settled else None
    if len(settled) != trials or own is None or study.best_value > own:
        raise SystemExit(f"{len(settled)} of {trials} trials finished, the best with loss {study.best_value:.4f}")
    ratio = seconds / embedding_seconds
    name = f"{TRIALS} tuning trials of the head, without MLflow / one embedding pass{', multiplied' if quick else ''}"
    return Figure(SECTION, name, ratio, ratio, ratio, TARGET, at_most=True)


def measure_logged_trials() -> Figure:
    """Compare the time of a worker's trials, with Optuna and MLflow, with that of the same trainings alone.

    Each trains the network by hand on the digits for one epoch.
    """
    config = resolve_config("digits", panels=["numpy-mlp"], settings=["numpy_mlp.epochs=1"]).boards[0]
    prepared = prepare_board(config)
    [panel] = config.panels
    shares = prepare_study(prepared, panel, LOGGED_TRIALS + 1, 1)
    record = start_study(prepared, panel, identify_study(prepared, panel), shares, {FLOW_RUN: "benchmark"})
    train = load_trainer(load_board(prepared), panel, None)
    tried: list[Any] = []

    def fit(settings: Any, on_epoch: OnEpoch) -> None:
        tried.append(settings)
        train(settings, on_epoch)

    runner = TrialRunner(record, fit)
    runner.run(0, lambda text: None)  # warm-up
    seconds = []
    for index in range(1, LOGGED_TRIALS + 1):
        started = time.perf_counter()
        runner.run(index, lambda text: None)
        logged = time.perf_counter()
        train(tried[-1], lambda metrics: None)
        seconds.append(logged - started - (time.perf_counter() - logged))
    close_runs("benchmark", "FINISHED")
    name = "seconds of a trial of tune numpy-mlp besides its training"
    return Figure("pipeline", name, median(seconds), min(seconds), max(seconds), MOST_SECONDS, at_most=True)

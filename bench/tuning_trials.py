"""A hundred trials of a head, as `triptych tune` runs them but without MLflow, against one embedding pass."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from measure import Figure

from triptych.data.boards import BoardData
from triptych.orchestration.trials import make_job
from triptych.system.paths import cache_home
from triptych.transfer.plan import embed_board, plan_board
from triptych.transfer.records import collect_embeddings, count_shards
from triptych.tuning.search_spaces import find_space
from triptych.tuning.study import ask_trial, list_settled, open_study, prepare_study, store_outcome, train_trial
from triptych.tuning.trainers import load_trainer

SECTION, TRIALS, TARGET = "transfer", 100, 1.0


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

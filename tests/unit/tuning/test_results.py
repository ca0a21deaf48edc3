from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.photos import write_photos
from helpers.studies import PANEL, distance_from_a_tenth, name_board, pretend, run_trials
from triptych.config.resolve import resolve_config
from triptych.config.schema import BoardConfig, SplitConfig
from triptych.config.trainers import MLPConfig, TransferConfig
from triptych.data.boards import BoardData, prepare_board
from triptych.errors import ConfigError, DivergenceError
from triptych.training.epochs import EpochMetrics
from triptych.training.jobs import list_jobs
from triptych.tuning.results import find_finished, summarise_study, use_setting, use_tuned
from triptych.tuning.study import prepare_study, study_file


def test_the_best_setting_of_a_finished_study_is_used(digits: BoardData) -> None:
    prepared = name_board(digits.prepared, "finished")
    run_trials(prepared, 4, pretend(lambda settings, epoch: settings.learning_rate))
    findings = summarise_study(prepared, PANEL)
    assert len(findings.trials) == 4
    assert findings.best.outcome.score == min(trial.fields["learning_rate"] for trial in findings.trials)
    assert use_tuned(prepared).config.numpy_mlp == findings.settings


def test_reading_a_study_leaves_its_file_as_it_is(digits: BoardData) -> None:
    prepared = name_board(digits.prepared, "read-only")
    assert find_finished(prepared, PANEL) is None
    run_trials(prepared, 1, pretend(distance_from_a_tenth))
    [file] = study_file("").parent.glob("read-only-*.journal")
    before = file.read_bytes()
    assert find_finished(prepared, PANEL) == summarise_study(prepared, PANEL)
    assert file.read_bytes() == before


def test_a_diverged_trial_counts_and_is_not_the_best(digits: BoardData) -> None:
    def fit(settings: MLPConfig, on_epoch: Callable[[EpochMetrics], None]) -> None:
        if settings.learning_rate > 0.05:
            raise DivergenceError("the training loss is nan")
        pretend(distance_from_a_tenth)(settings, on_epoch)

    prepared = name_board(digits.prepared, "some-diverged")
    run_trials(prepared, 8, fit)
    findings = summarise_study(prepared, PANEL)
    assert findings.best.fields["learning_rate"] <= 0.05
    assert len(findings.trials) == 8
    assert "diverged" in findings.verdict


def test_a_study_in_which_everything_diverges_says_so(digits: BoardData) -> None:
    prepared = name_board(digits.prepared, "all-diverged")
    run_trials(prepared, 2, pretend(lambda settings, epoch: math.nan))
    with pytest.raises(DivergenceError, match="none of the 2 trials of numpy-mlp on board all-diverged"):
        summarise_study(prepared, PANEL)


def test_tuned_needs_a_finished_study(digits: BoardData) -> None:
    prepared = name_board(digits.prepared, "unfinished")
    with pytest.raises(ConfigError, match=r"--tuned finds no study of numpy-mlp on board unfinished .*triptych tune"):
        use_tuned(prepared)
    run_trials(prepared, 2, pretend(distance_from_a_tenth))
    prepare_study(prepared, PANEL, 4, workers=1)
    with pytest.raises(ConfigError, match=r"has 2 of 4 trials: finish it with `triptych tune numpy-mlp --trials 4`"):
        use_tuned(prepared)


def test_each_pretrained_network_has_its_own_tuned_head(digits: BoardData) -> None:
    config = BoardConfig(panels=("vgg16", "resnet50"))
    config = use_setting(config, "resnet50", TransferConfig(learning_rate=0.5, epochs=7))
    jobs = list_jobs(replace(digits.prepared, config=config))
    rates = {job.panel: job.prepared.config.transfer.learning_rate for job in jobs}
    assert rates == {"vgg16": 0.01, "resnet50": 0.5}


def test_a_folder_that_grew_uses_the_newest_study_of_an_earlier_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    photos = write_photos(tmp_path / "photos", {"a": 20, "b": 20})
    config = resolve_config("photos", data=str(photos), panels=[PANEL], settings=["numpy_mlp.epochs=3"]).boards[0]
    for night, trials in enumerate((3, 2, 2)):
        run_trials(prepare_board(config), trials, pretend(distance_from_a_tenth))
        (photos / "a" / f"{night}.jpg").rename(photos / "a" / f"new-{night}.jpg")
    prepare_study(prepare_board(config), PANEL, 9, workers=1)
    write_photos(photos, {"a/night": 3})
    grown = prepare_board(config)
    tuned = use_tuned(grown)
    assert tuned.notes[-1] == "tuned on the validation set: numpy-mlp with 2 trials on an earlier state of the folder"
    other = config.model_copy(update={"split": SplitConfig(test_fraction=0.4)})
    with pytest.raises(ConfigError, match="--tuned finds no study"):
        use_tuned(prepare_board(other))
    run_trials(grown, 1, pretend(distance_from_a_tenth))
    assert use_tuned(grown).notes[-1] == "tuned on the validation set: numpy-mlp with 1 trials"

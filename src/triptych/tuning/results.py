"""The results of a study: the table of its trials, and the best setting as a file and for a comparison."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from optuna import Study

from triptych.config.names import COMBINED_MARK
from triptych.config.schema import BoardConfig
from triptych.config.trainers import EMBEDDING_FIELDS, NETWORK_FIELDS, PanelConfig, TransferConfig, kind_of_panel
from triptych.data.boards import PreparedBoard
from triptych.errors import ConfigError, DivergenceError
from triptych.panels.kinds import find_kind
from triptych.system.files import write_atomically
from triptych.tuning.search_spaces import apply_parameters, decode_parameters
from triptych.tuning.study import (
    DIRECTIONS,
    OUTCOME,
    WANTED_TRIALS,
    TrialOutcome,
    find_earlier_studies,
    identify_study,
    list_settled,
    load_study,
    study_file,
)

PRINTED_TRIALS = 5


@dataclass(frozen=True)
class TriedSetting:
    """A settled trial of a study.

    Attributes:
        number: Optuna's number of the trial, also part of the name of its MLflow run.
        fields: the values that were tried, by field of the section.
        outcome: the result.
    """

    number: int
    fields: dict[str, Any]
    outcome: TrialOutcome


@dataclass(frozen=True)
class Findings:
    """The results of a study so far.

    Attributes:
        study: name of the study.
        board: name of the board.
        panel: name of the panel.
        monitor: the metric that trials are compared by, `val_loss` or `val_accuracy`.
        trials: the settled trials, best first, complete ones before all others.
        settings: the whole section with the best setting.
        networks: the fields of the networks that the panel combines.
    """

    study: str
    board: str
    panel: str
    monitor: str
    trials: tuple[TriedSetting, ...]
    settings: PanelConfig
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def best(self) -> TriedSetting:
        """The best complete trial."""
        return self.trials[0]

    @property
    def verdict(self) -> str:
        """The number of trials and the best of them, in one line."""
        counts = Counter(trial.outcome.state for trial in self.trials)
        states = ", ".join(f"{count} {state}" for state, count in counts.items())
        return (
            f"{self.panel} on {self.board}: best {self.monitor} {self.best.outcome.score:.4f} in trial "
            f"{self.best.number} of {len(self.trials)} ({states})"
        )

    def best_rows(self) -> list[dict[str, str]]:
        """Return the best complete trials as text by column, with column names that a terminal can wrap."""
        complete = [trial for trial in self.trials if trial.outcome.state == "complete"]
        rows = [_describe_setting(trial, self.monitor) for trial in complete[:PRINTED_TRIALS]]
        return [{name.replace("_", " "): value for name, value in row.items()} for row in rows]

    def as_rows(self) -> list[dict[str, str]]:
        """Return all trials as text by column."""
        return [
            _describe_setting(trial, self.monitor)
            | {"outcome": trial.outcome.state, "epochs run": str(trial.outcome.epochs)}
            for trial in self.trials
        ]

    def as_yaml(self, preset: str) -> str:
        """Return the best setting as the text of a file for `--config`.

        The fields of a pretrained network go to `networks`, so that they apply to no other network of the board.
        """
        kind = kind_of_panel(self.panel)
        sections: dict[str, Any] = {kind: self.settings.model_dump(mode="json")}
        if isinstance(self.settings, TransferConfig):
            shared, own = {"weights": self.settings.weights}, select_own_fields(self.panel, self.settings)
            sections = {"transfer": shared, "networks": {**self.networks, self.panel: own}}
        return f"# {self.verdict}\n{yaml.safe_dump({'preset': preset, **sections}, sort_keys=False)}"


@dataclass(frozen=True)
class TuningResult:
    """The return value of the flow `tune`.

    Attributes:
        findings: the results of the study.
        file: path of the best setting, a file for `--config`.
        link: URL of the study in MLflow.
    """

    findings: Findings
    file: str
    link: str


def _describe_setting(trial: TriedSetting, monitor: str) -> dict[str, str]:
    score = trial.outcome.score
    figures = {name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in trial.fields.items()}
    return {"trial": str(trial.number), monitor: "-" if score is None else f"{score:.4f}", **figures}


def summarise_study(prepared: PreparedBoard, panel: str, study: Study | None = None) -> Findings:
    """Return the results of a panel's study so far.

    Args:
        prepared: the board.
        panel: the panel.
        study: its study, if it is loaded already.

    Raises:
        DivergenceError: no trial is complete.
    """
    study = study or load_study(identify_study(prepared, panel))
    section = prepared.config.settings_of(panel)
    sign = 1.0 if DIRECTIONS[section.monitor] == "minimize" else -1.0
    tried = [
        TriedSetting(trial.number, decode_parameters(trial.params), TrialOutcome(**trial.user_attrs[OUTCOME]))
        for trial in list_settled(study)
    ]
    tried.sort(key=lambda trial: (trial.outcome.state != "complete", sign * (trial.outcome.score or 0.0)))
    if not tried or tried[0].outcome.state != "complete":
        raise DivergenceError(
            f"none of the {len(tried)} trials of {panel} on board {prepared.config.name} is complete: "
            "run more --trials, or check the data and the fixed settings"
        )
    settings = apply_parameters(section, tried[0].fields)
    board, networks = prepared.config.name, prepared.config.select_networks(panel)
    return Findings(study.study_name, board, panel, section.monitor, tuple(tried), settings, networks)


def save_best(findings: Findings, best: str) -> str:
    """Write the best setting to a file beside its study; return the path."""
    file = study_file(findings.study).with_suffix(".yaml")
    write_atomically(file, best.encode())
    return str(file)


def use_tuned(prepared: PreparedBoard) -> PreparedBoard:
    """Return a board with the best settings of all its panels that have a finished study.

    Raises:
        ConfigError: no panel of the board has a study, a study is not finished, or folds are asked for.
    """
    if folds := prepared.config.split.folds:
        raise ConfigError(
            f"--tuned with split.folds={folds} would test on images that the settings were chosen on: leave one out"
        )
    found = [findings for panel in prepared.config.panels if (findings := find_finished(prepared, panel))]
    if not found:
        panels = ", ".join(prepared.config.panels)
        raise ConfigError(
            f"--tuned finds no study of {panels} on board {prepared.config.name} with split {prepared.split_id}: run "
            f"`triptych tune {prepared.config.panels[0]} --trials 20` with the same preset, data and settings first"
        )
    config = prepared.config
    for findings in found:
        config = use_setting(config, findings.panel, findings.settings)
    tuned = ", ".join(_describe_origin(prepared, findings) for findings in found)
    notes = (*prepared.notes, f"tuned on the validation set: {tuned}")
    return replace(prepared, config=config, notes=notes, tuned=tuple(findings.panel for findings in found))


def _describe_origin(prepared: PreparedBoard, findings: Findings) -> str:
    earlier = findings.study != identify_study(prepared, findings.panel)
    when = " on an earlier state of the folder" if earlier else ""
    return f"{findings.panel} with {len(findings.trials)} trials{when}"


def find_finished(prepared: PreparedBoard, panel: str) -> Findings | None:
    """Return the results of a panel's study; None if it has no study, or nothing to tune.

    A folder that grew since may have a study of an earlier state only, of which the newest that is finished counts.

    Raises:
        ConfigError: the study has fewer trials than requested.
    """
    if not find_kind(prepared.config, panel).space(prepared.config.settings_of(panel)):
        return None
    if study := _open_existing(identify_study(prepared, panel)):
        settled, wanted = _count_trials(study)
        if settled < wanted:
            raise ConfigError(
                f"the study of {panel} on board {prepared.config.name} has {settled} of {wanted} trials: finish it "
                f"with `triptych tune {panel} --trials {wanted}`, or ask for fewer"
            )
        return summarise_study(prepared, panel, study)
    for name in find_earlier_studies(prepared, panel):
        study = _open_existing(name)
        if study and operator.ge(*_count_trials(study)):
            return summarise_study(prepared, panel, study)
    return None


def _open_existing(name: str) -> Study | None:
    """Return a study; None if there is none."""
    if not study_file(name).exists():
        return None
    try:
        return load_study(name)
    except KeyError:  # an empty file
        return None


def _count_trials(study: Study) -> tuple[int, int]:
    """Return the number of settled trials, and how many are wanted."""
    return len(list_settled(study)), int(study.user_attrs.get(WANTED_TRIALS, 1))


def use_setting(config: BoardConfig, panel: str, settings: PanelConfig) -> BoardConfig:
    """Return a board with the given settings for one panel."""
    if not isinstance(settings, TransferConfig):
        return config.model_copy(update={kind_of_panel(panel): settings})
    own = {"weights": settings.weights} if "weights" in config.networks.get(panel, {}) else {}
    return config.model_copy(update={"networks": {**config.networks, panel: own | select_own_fields(panel, settings)}})


def select_own_fields(panel: str, settings: TransferConfig) -> dict[str, Any]:
    """Return the fields that may differ between the pretrained networks of a board, without the weights."""
    combined = NETWORK_FIELDS if COMBINED_MARK in panel else {"weights"}
    return settings.model_dump(mode="json", exclude=EMBEDDING_FIELDS | combined)

"""What a study has found: the table of its trials, the best setting as a file, and its use in a comparison."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import yaml
from optuna import Study

from triptych.config.schema import BoardConfig
from triptych.config.trainers import EMBEDDING_FIELDS, PanelConfig, TransferConfig, kind_of_panel
from triptych.data.boards import PreparedBoard
from triptych.errors import ConfigError, DivergenceError
from triptych.system.files import write_atomically
from triptych.tuning.search_spaces import decode_parameters, lay_over
from triptych.tuning.study import (
    DIRECTIONS,
    OUTCOME,
    WANTED_TRIALS,
    TrialOutcome,
    identify_study,
    list_settled,
    open_study,
    study_file,
)

PRINTED_TRIALS = 5


@dataclass(frozen=True)
class TriedSetting:
    """A settled trial of a study.

    Attributes:
        number: Optuna's, and in the name of its MLflow run.
        fields: what was tried, by field of the section.
        outcome: what came of it.
    """

    number: int
    fields: dict[str, Any]
    outcome: TrialOutcome


@dataclass(frozen=True)
class Findings:
    """What a study has found so far.

    Attributes:
        study: its name.
        board: the board's name.
        panel: the panel's name.
        monitor: what was judged, `val_loss` or `val_accuracy`.
        trials: the settled trials, best first, the complete ones before the others.
        settings: the whole section with the best setting.
    """

    study: str
    board: str
    panel: str
    monitor: str
    trials: tuple[TriedSetting, ...]
    settings: PanelConfig

    @property
    def best(self) -> TriedSetting:
        """The best complete trial."""
        return self.trials[0]

    @property
    def verdict(self) -> str:
        """How many trials there were, and the best of them, in a line."""
        counts = Counter(trial.outcome.state for trial in self.trials)
        states = ", ".join(f"{count} {state}" for state, count in counts.items())
        return (
            f"{self.panel} on {self.board}: best {self.monitor} {self.best.outcome.score:.4f} in trial "
            f"{self.best.number} of {len(self.trials)} ({states})"
        )

    def best_rows(self) -> list[dict[str, str]]:
        """Return the best complete trials as text, by column; names in words, so that a terminal can break them."""
        complete = [trial for trial in self.trials if trial.outcome.state == "complete"]
        rows = [_describe_setting(trial, self.monitor) for trial in complete[:PRINTED_TRIALS]]
        return [{name.replace("_", " "): value for name, value in row.items()} for row in rows]

    def as_rows(self) -> list[dict[str, str]]:
        """Return every trial as text, by column."""
        return [
            _describe_setting(trial, self.monitor)
            | {"outcome": trial.outcome.state, "epochs run": str(trial.outcome.epochs)}
            for trial in self.trials
        ]

    def as_yaml(self, preset: str) -> str:
        """Return the best setting as a file for `--config`.

        A pretrained network gets its fields for itself alone, as there may be others on a board.
        """
        kind = kind_of_panel(self.panel)
        sections: dict[str, Any] = {kind: self.settings.model_dump(mode="json")}
        if isinstance(self.settings, TransferConfig):
            shared = {"weights": self.settings.weights}
            sections = {"transfer": shared, "networks": {self.panel: list_own_fields(self.settings)}}
        return f"# {self.verdict}\n{yaml.safe_dump({'preset': preset, **sections}, sort_keys=False)}"


@dataclass(frozen=True)
class TuningResult:
    """What `tune` hands back.

    Attributes:
        findings: what the study has found.
        file: the best setting, a file for `--config`.
        link: MLflow's page of the study.
    """

    findings: Findings
    file: str
    link: str


def _describe_setting(trial: TriedSetting, monitor: str) -> dict[str, str]:
    score = trial.outcome.score
    figures = {name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in trial.fields.items()}
    return {"trial": str(trial.number), monitor: "-" if score is None else f"{score:.4f}", **figures}


def summarise_study(prepared: PreparedBoard, panel: str, study: Study | None = None) -> Findings:
    """Return what the study of a panel has found so far.

    Raises:
        DivergenceError: no trial came to its end.
    """
    study = study or open_study(prepared, panel)
    section = prepared.config.settings_of(panel)
    sign = 1.0 if DIRECTIONS[section.monitor] == "minimize" else -1.0
    tried = [
        TriedSetting(trial.number, decode_parameters(trial.params), TrialOutcome(**trial.user_attrs[OUTCOME]))
        for trial in list_settled(study)
    ]
    tried.sort(key=lambda trial: (trial.outcome.state != "complete", sign * (trial.outcome.score or 0.0)))
    if not tried or tried[0].outcome.state != "complete":
        raise DivergenceError(
            f"none of the {len(tried)} trials of {panel} on board {prepared.config.name} came to its end: "
            "ask for more --trials, or check the data and the fixed settings"
        )
    settings = lay_over(section, tried[0].fields)
    return Findings(study.study_name, prepared.config.name, panel, section.monitor, tuple(tried), settings)


def save_best(findings: Findings, best: str) -> str:
    """Write the best setting beside its study, and return the file."""
    file = study_file(findings.study).with_suffix(".yaml")
    write_atomically(file, best.encode())
    return str(file)


def use_tuned(prepared: PreparedBoard) -> PreparedBoard:
    """Return a board whose panels have the best setting of their study, where there is a finished one.

    Raises:
        ConfigError: no panel of the board has been tuned, or a study is not finished.
    """
    found = [finding for panel in prepared.config.panels if (finding := find_finished(prepared, panel))]
    if not found:
        panels = ", ".join(prepared.config.panels)
        raise ConfigError(
            f"--tuned finds no study of {panels} on board {prepared.config.name} with split {prepared.split_id}: run "
            f"`triptych tune {prepared.config.panels[0]} --trials 20` with the same preset, data and settings first"
        )
    config = prepared.config
    for findings in found:
        config = use_setting(config, findings.panel, findings.settings)
    tuned = ", ".join(f"{findings.panel} with {len(findings.trials)} trials" for findings in found)
    return replace(prepared, config=config, notes=(*prepared.notes, f"tuned on the validation part: {tuned}"))


def find_finished(prepared: PreparedBoard, panel: str) -> Findings | None:
    """Return what a panel's study has found; None where there is no study.

    Raises:
        ConfigError: it has fewer trials than it was to have.
    """
    if not study_file(identify_study(prepared, panel)).is_file():
        return None
    study = open_study(prepared, panel)
    settled, wanted = len(list_settled(study)), int(study.user_attrs.get(WANTED_TRIALS, 1))
    if settled < wanted:
        raise ConfigError(
            f"the study of {panel} on board {prepared.config.name} has {settled} of {wanted} trials: finish it with "
            f"`triptych tune {panel} --trials {wanted}`, or ask for fewer"
        )
    return summarise_study(prepared, panel, study)


def use_setting(config: BoardConfig, panel: str, settings: PanelConfig) -> BoardConfig:
    """Return a board on which one panel is trained with its own setting."""
    if not isinstance(settings, TransferConfig):
        return config.model_copy(update={kind_of_panel(panel): settings})
    return config.model_copy(update={"networks": {**config.networks, panel: list_own_fields(settings)}})


def list_own_fields(settings: TransferConfig) -> dict[str, Any]:
    """Return the fields that each pretrained network of a board may have for itself."""
    return settings.model_dump(mode="json", exclude=EMBEDDING_FIELDS)

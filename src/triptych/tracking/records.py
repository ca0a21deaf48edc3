"""What tasks hand each other about runs: ids and names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from triptych.data.boards import PreparedBoard
from triptych.evaluation.report import EvaluatedPanel
from triptych.training.jobs import PanelJob, list_jobs
from triptych.transfer.records import EmbeddingRecord


@dataclass(frozen=True)
class ComparisonRecord:
    """What tasks hand each other about a comparison.

    Attributes:
        comparison: its id.
        experiment_id: MLflow's id of the board's experiment.
        run_id: of the run named `comparison`.
        prepared: the board.
        fresh_since: seconds since 1970: trainings from before then are not taken up; None: all are.
        ordered: the one panel that is trained here, where the flow run of another machine asked for it.
    """

    comparison: str
    experiment_id: str
    run_id: str
    prepared: PreparedBoard
    fresh_since: float | None = None
    ordered: str | None = None

    @property
    def jobs(self) -> list[PanelJob]:
        """Every training that the flow run waits for."""
        jobs = list_jobs(self.prepared, fresh_since=self.fresh_since)
        return [job for job in jobs if self.ordered in {None, job.panel}]

    @property
    def panels_elsewhere(self) -> list[str]:
        """The panels that the machines of other work pools train."""
        panels = self.prepared.config.panels
        return [] if self.ordered else [panel for panel in panels if self.prepared.config.find_pool(panel)]

    @property
    def backbones(self) -> list[str]:
        """The panels with a pretrained network that are trained here."""
        here = {job.panel for job in self.jobs} - set(self.panels_elsewhere)
        return [panel for panel in self.prepared.config.backbone_panels if panel in here]


@dataclass(frozen=True)
class TrainedPanel:
    """What tasks hand each other about a trained panel.

    Attributes:
        job: the panel and its repeat.
        run_id: MLflow's run id.
        model_uri: where MLflow keeps the model.
        restored_epochs: how many epochs came from an earlier training that was the same so far.
        embedded: the record of its embeddings, where it stands on a frozen network.
    """

    job: PanelJob
    run_id: str
    model_uri: str
    restored_epochs: int
    embedded: EmbeddingRecord | None = None

    def with_metrics(self, metrics: dict[str, float]) -> EvaluatedPanel:
        """Return it with what it achieves on the test part."""
        job = self.job
        return EvaluatedPanel(
            job.panel, job.label, job.repeat, self.run_id, metrics, self.restored_epochs, self.model_uri
        )


@dataclass(frozen=True)
class StudyRecord:
    """What tasks hand each other about the tuning of a panel.

    Attributes:
        study: the study's name.
        experiment_id: MLflow's id of the board's experiment.
        run_id: of the study's run.
        prepared: the board.
        panel: the panel that is tuned.
        shares: what each worker has to do, as ranges of trial indices.
        tags: who runs it: the flow run and its machine.
    """

    study: str
    experiment_id: str
    run_id: str
    prepared: PreparedBoard
    panel: str
    shares: tuple[range, ...]
    tags: Mapping[str, str]

    @property
    def backbones(self) -> list[str]:
        """The panel, if it stands on a pretrained network."""
        return list(self.prepared.config.backbone_panels)


@dataclass(frozen=True)
class PanelRun:
    """A run of one panel, as `triptych show` prints it.

    Attributes:
        board: the board's name.
        comparison: the comparison's id.
        panel: the panel's name.
        label: the panel's name for people.
        repeat: which training of the panel.
        run_id: MLflow's run id.
        status: MLflow's status of the run.
        metrics: the last value of every metric.
    """

    board: str
    comparison: str
    panel: str
    label: str
    repeat: int
    run_id: str
    status: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class RecordedRun:
    """A comparison or a study, as `triptych show` prints it.

    Attributes:
        role: "comparison" or "study".
        name: of a comparison its id, of a study its panel.
        board: the board's name.
        status: MLflow's status of its run.
        started: when.
        ended: when; None while it runs.
        verdict: what came out, in a sentence; empty where it ended before.
        missing: the panels and repeats that it lacks, with their errors.
        address: MLflow's page with its charts.
        flow_run: Prefect's page of the flow run that worked on it last; None where that had no page.
        panels: the runs of its panels; a study has none.
    """

    role: str
    name: str
    board: str
    status: str
    started: datetime
    ended: datetime | None
    verdict: str
    missing: list[str]
    address: str
    flow_run: str | None
    panels: list[PanelRun]

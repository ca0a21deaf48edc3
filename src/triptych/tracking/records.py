"""Records of runs, small enough to be passed between tasks: ids and names, no data."""

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
    """A comparison, as tasks pass it on.

    Attributes:
        comparison: the comparison's id.
        experiment_id: MLflow's id of the board's experiment.
        run_id: MLflow's id of the run named `comparison`.
        prepared: the board.
        fresh_since: seconds since 1970; older trainings in the cache are not used. None: all of them are.
        ordered: the only panel that is trained here, if the flow run of another machine ordered it.
    """

    comparison: str
    experiment_id: str
    run_id: str
    prepared: PreparedBoard
    fresh_since: float | None = None
    ordered: str | None = None

    @property
    def jobs(self) -> list[PanelJob]:
        """The trainings that the flow run waits for."""
        jobs = list_jobs(self.prepared, fresh_since=self.fresh_since)
        return [job for job in jobs if self.ordered in {None, job.panel}]

    @property
    def panels_elsewhere(self) -> list[str]:
        """The panels that other work pools train."""
        panels = self.prepared.config.panels
        return [] if self.ordered else [panel for panel in panels if self.prepared.config.find_pool(panel)]

    @property
    def backbones(self) -> list[str]:
        """The panels with a pretrained network that this flow run trains itself."""
        here = {job.panel for job in self.jobs} - set(self.panels_elsewhere)
        return [panel for panel in self.prepared.config.backbone_panels if panel in here]


@dataclass(frozen=True)
class TrainedPanel:
    """A trained panel, as tasks pass it on.

    Attributes:
        job: the panel and its repeat.
        run_id: MLflow's run id.
        model_uri: MLflow's address of the model.
        restored_epochs: epochs that were restored from a checkpoint of the same training.
        embedded: the record of its embeddings, if it has a frozen network.
        shared: whether the run is that of an earlier comparison.
    """

    job: PanelJob
    run_id: str
    model_uri: str
    restored_epochs: int
    embedded: EmbeddingRecord | None = None
    shared: bool = False

    def with_metrics(self, metrics: dict[str, float]) -> EvaluatedPanel:
        """Return the panel with its final metrics."""
        job = self.job
        return EvaluatedPanel(
            job.panel, job.label, job.repeat, self.run_id, metrics, self.restored_epochs, self.model_uri, self.shared
        )


@dataclass(frozen=True)
class StudyRecord:
    """The study of a panel, as tasks pass it on.

    Attributes:
        study: the study's name.
        experiment_id: MLflow's id of the board's experiment.
        run_id: MLflow's id of the study's run.
        prepared: the board.
        panel: the panel that is tuned.
        shares: the trials of each worker, as ranges of trial indices.
        tags: the flow run that works on it, and its machine.
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
        """The panel, if it has a pretrained network."""
        return list(self.prepared.config.backbone_panels)


@dataclass(frozen=True)
class PanelRun:
    """A run of one panel, as `triptych show` prints it.

    Attributes:
        board: the board's name.
        comparison: the comparison's id.
        panel: the panel's name.
        label: the panel's name as reports print it.
        repeat: number of the repeat, from 0.
        run_id: MLflow's run id.
        status: MLflow's status of the run.
        metrics: the last value of every metric.
        restored_epochs: epochs restored from an earlier, identical training, with their times.
    """

    board: str
    comparison: str
    panel: str
    label: str
    repeat: int
    run_id: str
    status: str
    metrics: dict[str, float]
    restored_epochs: int = 0


@dataclass(frozen=True)
class RecordedRun:
    """A comparison or a study, as `triptych show` prints it.

    Attributes:
        role: "comparison" or "study".
        name: the id of a comparison, or the panel of a study.
        board: the board's name.
        status: MLflow's status of its run.
        started: when its run started.
        ended: when its run ended; None while it is running.
        verdict: the result in one sentence; empty if it ended without one.
        missing: the panels and repeats that failed, with their errors.
        address: MLflow's page with its charts.
        flow_run: Prefect's page of the flow run that worked on it last; None if there is no such page.
        panels: the runs of its panels; empty for a study.
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

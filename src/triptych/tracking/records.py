"""Records of runs, small enough to be passed between tasks: ids and names, no data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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

    @property
    def backbone_names(self) -> str:
        """The same, as the names of tasks have it."""
        return ", ".join(self.backbones)


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

    @property
    def backbone_names(self) -> str:
        """The same, as the names of tasks have it."""
        return ", ".join(self.backbones)

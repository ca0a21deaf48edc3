"""What tasks hand each other about runs: ids and names."""

from __future__ import annotations

from dataclasses import dataclass

from triptych.boards import BoardRecord
from triptych.embedding_record import EmbeddingRecord
from triptych.panel_jobs import PanelJob


@dataclass(frozen=True)
class ComparisonRecord:
    """What tasks hand each other about a comparison.

    Attributes:
        comparison: its id.
        experiment_id: MLflow's id of the board's experiment.
        run_id: of the run named `comparison`.
        board: the board.
    """

    comparison: str
    experiment_id: str
    run_id: str
    board: BoardRecord


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


@dataclass(frozen=True)
class StudyRecord:
    """What tasks hand each other about the tuning of a panel.

    Attributes:
        study: the study's name.
        experiment_id: MLflow's id of the board's experiment.
        run_id: of the study's run.
        board: the board.
        panel: the panel that is tuned.
        shares: what each worker has to do, as ranges of trial indices.
    """

    study: str
    experiment_id: str
    run_id: str
    board: BoardRecord
    panel: str
    shares: tuple[range, ...]


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

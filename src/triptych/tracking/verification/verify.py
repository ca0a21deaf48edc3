"""Verify a run: compare what it depends on and what it logged, train again, and compare the predictions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from triptych.errors import ConfigError, DamagedFileError
from triptych.networks.checksums import CHECKSUMS, check_checksums
from triptych.networks.trunks import open_trunk
from triptych.tracking.artifacts import load_logged_predictions
from triptych.tracking.client import connect
from triptych.tracking.provenance import MODEL_FILES, PREDICTIONS, TrainingRecord, hash_bytes, load_record
from triptych.tracking.queries import find_compared_runs, find_comparison
from triptych.tracking.registry.versions import find_version
from triptych.tracking.tags import LABEL, MODEL, REPEAT, ROLE, read_tags, set_tags
from triptych.tracking.verification.agreement import (
    Agreement,
    Difference,
    compare_ingredients,
    compare_predictions,
)
from triptych.tracking.verification.repeat import DATA, empty_cache, find_ingredients, prepare_again, train_again

# The tag of a run with the answer of its last verification.
VERIFIED = "verified"


@dataclass(frozen=True)
class Verification:
    """The answer about one run of a panel.

    Attributes:
        run_id: MLflow's run id.
        label: the panel's name as reports show it, with its repeat.
        agreement: how far the predictions agree; None if nothing was trained.
        differences: what is not as it was recorded.
        largest: the largest difference of a probability; None if nothing was trained.
    """

    run_id: str
    label: str
    agreement: Agreement | None
    differences: tuple[Difference, ...] = ()
    largest: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the run is what its record says: its training gives the same, or, untrained, nothing differs."""
        return not self.differences if self.agreement is None else self.agreement is not Agreement.DIFFERENT

    @property
    def answer(self) -> str:
        """The answer in a few words."""
        if self.agreement is None:
            return "as recorded" if self.holds else "not as recorded"
        return str(self.agreement)


def find_runs(reference: str) -> list[Run]:
    """Return the panel runs that a reference names: a comparison, its run, the run of a panel, or a registered model.

    Raises:
        ConfigError: there is no such run.
    """
    client = connect()
    if "/" in reference or "@" in reference:
        return [client.get_run(str(find_version(reference).run_id))]
    try:
        run = client.get_run(reference)
    except MlflowException:
        run = find_comparison(client, reference)
    tags = read_tags(run)
    if tags.get(ROLE) == "panel":
        return [run]
    if tags.get(ROLE) != "comparison":
        raise ConfigError(f"run {reference} is no comparison and no panel: `triptych show` lists comparisons")
    return find_compared_runs(run.info.experiment_id, run)


def verify_runs(runs: Iterable[Run], *, record_only: bool) -> list[Verification]:
    """Verify the runs of panels, and tag each with the answer. What they train and embed again is kept nowhere.

    Args:
        runs: the runs.
        record_only: compare hashes, and train nothing.

    Raises:
        ConfigError: a run has no record.
        DataError: the data are missing.
    """
    with empty_cache():
        return [_verify_run(run, record_only=record_only) for run in runs]


def _verify_run(run: Run, *, record_only: bool) -> Verification:
    tags, run_id = read_tags(run), run.info.run_id
    verification = Verification(run_id, f"{tags[LABEL]} #{tags[REPEAT]}", None if record_only else Agreement.DIFFERENT)
    try:
        record = load_record(run)
    except DamagedFileError as damaged:
        unreadable = Difference(damaged.file.name, "intact", damaged.reason)
        return _note(replace(verification, differences=(unreadable,)))
    damage = list(_find_damage(run, record))
    job = prepare_again(record)
    differences = compare_ingredients(record.ingredients, find_ingredients(record, job))
    # Without the predictions or their images, there is nothing to compare a training with.
    if record_only or damage or any(one.name in DATA for one in differences):
        return _note(replace(verification, differences=(*damage, *differences)))
    predictions, ingredients = train_again(record, job)
    differences = compare_ingredients(record.ingredients, ingredients)
    agreement, largest = compare_predictions(load_logged_predictions(run_id), predictions)
    return _note(replace(verification, agreement=agreement, differences=tuple(differences), largest=largest))


def _find_damage(run: Run, record: TrainingRecord) -> Iterator[Difference]:
    """Yield what the run logged and is not any more what was logged."""
    try:
        found = load_logged_predictions(run.info.run_id).digest()
    except (DamagedFileError, MlflowException):
        found = "unreadable"
    yield from compare_ingredients({"test predictions": record.hashes[PREDICTIONS]}, {"test predictions": found})
    with TemporaryDirectory() as folder:
        try:
            place = Path(mlflow.artifacts.download_artifacts(read_tags(run)[MODEL], dst_path=folder))
            (data,) = (file.parent for file in (place / "data").rglob(CHECKSUMS))
            check_checksums(data)
            with open_trunk(data):
                found = hash_bytes((data / CHECKSUMS).read_bytes())
        except DamagedFileError as damaged:
            found = damaged.reason
        except (MlflowException, OSError, ValueError):
            found = "missing"
    yield from compare_ingredients({"model": record.hashes[MODEL_FILES]}, {"model": found})


def _note(verification: Verification) -> Verification:
    set_tags(connect(), verification.run_id, {VERIFIED: verification.answer})
    return verification

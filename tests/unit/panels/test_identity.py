"""The name of a training changes with everything that its result depends on, and with nothing else."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

import triptych
from triptych.config.resolve import resolve_config
from triptych.data.boards import PreparedBoard, prepare_board
from triptych.data.shards.places import Run
from triptych.panels import identity
from triptych.panels.identity import (
    PACKAGES,
    find_libraries,
    hash_code,
    identify_comparison,
    identify_evaluation,
    identify_training,
    open_checkpoint,
)
from triptych.training.checkpoints import Checkpoint, CheckpointFile
from triptych.training.jobs import PanelJob
from triptych.transfer.records import EmbeddingRecord

PACKAGE = Path(triptych.__file__).parent


@pytest.fixture(scope="module")
def prepared() -> PreparedBoard:
    return prepare_board(resolve_config("digits").boards[0])


def name(prepared: PreparedBoard, panel: str = "numpy-mlp", *settings: str, repeat: int = 0) -> str:
    """The name of a training with other settings."""
    config = resolve_config("digits", settings=settings).boards[0]
    return identify_training(PanelJob(replace(prepared, config=config), panel, repeat))


def test_the_change_of_any_source_file_changes_the_name(tmp_path: Path) -> None:
    copy = tmp_path / "triptych"
    for package in PACKAGES:
        shutil.copytree(
            PACKAGE / package, copy / package, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
        )
    seen = {hash_code(copy)}
    assert seen == {hash_code(PACKAGE)}
    files = sorted(copy.rglob("*.py"))
    assert len(files) > 50
    for file in files:
        before = file.read_bytes()
        file.write_bytes(before + b"#")
        hash_code.cache_clear()
        seen.add(hash_code(copy))
        file.write_bytes(before)
    assert len(seen) == 1 + len(files)


def test_a_new_file_and_a_moved_one_change_it_too(tmp_path: Path) -> None:
    names = set()
    for place in ("networks/a.py", "networks/b.py", "images/a.py"):
        package = tmp_path / place.replace("/", "-")
        (package / place).parent.mkdir(parents=True)
        (package / place).write_text("x = 1\n")
        names.add(hash_code(package))
    assert len(names) == 3


def test_the_code_is_part_of_a_trainings_name(prepared: PreparedBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {panel: name(prepared, panel) for panel in prepared.config.panels}
    monkeypatch.setattr(identity, "hash_code", lambda package: "other")
    assert all(name(prepared, panel) != before[panel] for panel in prepared.config.panels)


def test_libraries_are_found_in_the_sources_and_count(prepared: PreparedBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_libraries(PACKAGE)
    assert {"numpy", "scipy", "scikit-learn", "torch", "torchvision", "pillow"} <= set(found)
    before = name(prepared)
    for library in ("pillow", "scipy"):
        with monkeypatch.context() as patch:
            patch.setattr(identity, "find_libraries", lambda package, library=library: {**found, library: "0"})
            assert name(prepared) != before


def test_threads_count_where_they_change_bits(prepared: PreparedBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = {panel: name(prepared, panel) for panel in ("shufflenet_v2_x0_5", "numpy-mlp")}
    monkeypatch.setattr("triptych.system.threads.count_cores", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    two = {panel: name(prepared, panel) for panel in one}
    assert two["shufflenet_v2_x0_5"] != one["shufflenet_v2_x0_5"]
    assert two["numpy-mlp"] == one["numpy-mlp"], "its threads are a setting"
    assert name(prepared, "numpy-mlp", "numpy_mlp.threads=2") != one["numpy-mlp"]


def test_the_content_of_a_file_of_weights_counts(prepared: PreparedBoard, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    transfer = prepared.config.transfer.model_copy(update={"weights": str(file)})
    own = replace(prepared, config=prepared.config.model_copy(update={"transfer": transfer}))
    names = set()
    for content in (b"first", b"other"):
        file.write_bytes(content)
        names.add(identify_comparison(own))
    assert len(names) == 2


def test_settings_seed_split_and_data_count_but_not_when_results_are_written(prepared: PreparedBoard) -> None:
    same = name(prepared)
    assert name(prepared, "numpy-mlp", "numpy_mlp.checkpoint_epochs=3") == same
    others = {
        name(prepared, "torch-mlp"),
        name(prepared, "numpy-mlp", "numpy_mlp.momentum=0.5"),
        name(prepared, "numpy-mlp", "class_weights=balanced"),
        name(prepared, repeat=1),
        name(replace(prepared, split_id="other")),
        name(replace(prepared, data_digest="other")),
    }
    assert len(others | {same}) == 7


def test_the_bits_of_the_embeddings_count_but_not_the_files_that_they_are_in(prepared: PreparedBoard) -> None:
    def name_with(content: str, file: str) -> str:
        record = EmbeddingRecord((Run(Path(file), 0, 2),), "digest", 2, 2, 0.0, contents=(content,))
        return identify_training(PanelJob(prepared, "shufflenet_v2_x0_5", 0), record)

    assert name_with("some bits", "a.npy") == name_with("some bits", "b.npy") != name_with("other bits", "a.npy")


def test_a_comparison_is_named_by_its_trainings_and_not_by_where_they_run(prepared: PreparedBoard) -> None:
    elsewhere = prepared.config.model_copy(update={"pools": {"transfer": "gpu"}})
    assert identify_comparison(replace(prepared, config=elsewhere)) == identify_comparison(prepared)
    twice = prepared.config.model_copy(update={"repeats": 2})
    assert identify_comparison(replace(prepared, config=twice)) != identify_comparison(prepared)


def test_an_evaluation_does_not_depend_on_what_is_made_of_all_of_them(prepared: PreparedBoard) -> None:
    changed = {
        name: prepared.config.model_copy(update={"evaluate": prepared.config.evaluate.model_copy(update={name: value})})
        for name, value in {"ensemble": False, "calibration_bins": 3}.items()
    }
    name = identify_evaluation(prepared.config)
    assert name == identify_evaluation(changed["ensemble"]) != identify_evaluation(changed["calibration_bins"])
    assert identify_comparison(replace(prepared, config=changed["ensemble"])) != identify_comparison(prepared)


def test_a_fresh_training_is_taken_up_only_if_it_began_since(
    prepared: PreparedBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    file = find_checkpoint_file(PanelJob(prepared, "numpy-mlp", 0))
    old = CheckpointFile(file, file.parent.name)
    old.save(Checkpoint((), {}, {}, {}))
    began = time.time()
    os.utime(old.file, (began - 10, began - 10))
    fresh = PanelJob(prepared, "numpy-mlp", 0, fresh_since=began)
    assert open_checkpoint(PanelJob(prepared, "numpy-mlp", 0)) is not None
    assert old.file.exists()
    os.utime(old.file, (began - 10, began - 10))
    open_checkpoint(fresh)
    assert not old.file.exists()
    old.save(Checkpoint((), {}, {}, {}))
    open_checkpoint(fresh)
    assert old.file.exists()


def find_checkpoint_file(job: PanelJob) -> Path:
    found = open_checkpoint(job)
    assert found is not None
    return found.file


def test_an_optional_package_belongs_to_the_panels_that_use_it() -> None:
    assert not identity.OPTIONAL_IMPORTS & identity.find_libraries(identity.HERE).keys()
    assert identity._find_optional("resnet18") == identity._find_optional("numpy-mlp") == {}
    assert identity._find_optional("resnet18+timm:resnet18").keys() == {"timm"}
    assert identity._find_optional("hf:net").keys() == {"timm", "transformers"}

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.photos import write_photos
from triptych.commands.preflight import check_early, check_inputs, check_tuning
from triptych.config.resolve import resolve_config
from triptych.errors import ConfigError, DataError, InputError


def test_sound_inputs_are_prepared(photos: Path) -> None:
    [prepared] = check_inputs(resolve_config("photos", data=str(photos), panels=["numpy-mlp"]))
    assert sum(prepared.sizes.values()) == 40
    assert prepared.classes == ("green", "red")


def test_a_broken_image_is_found_before_anything_is_trained(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", {"a": 5, "b": 5})
    (folder / "a" / "2.jpg").write_bytes(b"\xff\xd8 no more")
    with pytest.raises(DataError, match=r"image .*/a/2\.jpg cannot be read .*: replace or remove the file$"):
        check_inputs(resolve_config("photos", data=str(folder), panels=["numpy-mlp"]))


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(DataError, match="data '/nowhere' is neither a directory nor"):
        check_inputs(resolve_config("photos", data="/nowhere"))


@pytest.mark.parametrize(
    ("settings", "trials", "workers", "message"),
    [
        ([], 0, 1, "--trials 0 is not allowed"),
        ([], 1, 0, "--workers 0 is not allowed"),
        (["split.validation_fraction=0"], 1, 1, "validation set, but it is empty on board digits: set split"),
    ],
    ids=["trials", "workers", "validation"],
)
def test_what_cannot_be_tuned_is_refused_before_anything_starts(
    settings: list[str], trials: int, workers: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_tuning(resolve_config("digits", panels=["numpy-mlp"], settings=settings), trials, workers)


HEAVY = ("sklearn", "scipy", "pandas", "torch", "mlflow", "prefect", "matplotlib")


@pytest.mark.parametrize(
    ("data", "weights", "message"),
    [
        ("gone", "bundled", "neither a directory nor the name"),
        ("empty", "bundled", r"has 0 class\(es\)"),
        ("idx:gone", "bundled", "does not exist: check the path"),
        ("digit:photos", "bundled", "unknown data set"),
        ("photos", "bundled", "weights 'bundled' are those of shufflenet_v2_x0_5, not of resnet50"),
        ("photos", "torn.pth", r"torn\.pth is damaged or not a state dict"),
        ("photos", "NOPE_V1", "unknown weights 'NOPE_V1' for resnet50"),
        ("photos", "gone.pth", r"gone\.pth does not exist: check transfer\.weights"),
    ],
)
def test_what_is_not_there_is_known_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, weights: str, message: str
) -> None:
    write_photos(tmp_path / "photos", {"a": 1, "b": 1})
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.pth").write_bytes(b"torn")
    monkeypatch.chdir(tmp_path)
    config = resolve_config("photos", data=data, panels=["resnet50"], settings=[f"transfer.weights={weights}"])
    with pytest.raises(InputError, match=message):
        check_early(config)


@pytest.mark.parametrize(
    ("panel", "settings", "message"),
    [
        ("shufflenet_v2_x0_5@stage5", ["weights=bundled"], "unknown transfer.cut 'stage5'.*'stage4'"),
        ("resnet18@features", ["weights=bundled"], "are those of shufflenet_v2_x0_5, not of resnet18@features"),
        ("shufflenet_v2_x0_5+vgg16", ["weights=bundled"], "not of vgg16: set networks.vgg16.weights to others"),
        ("vgg16+resnet18", ["weights=random", "networks.vgg16.weights=none.pth"], "check networks.vgg16.weights"),
        ("vgg16+resnet18@layer5", ["weights=random"], "unknown transfer.cut 'layer5' for resnet18.*'layer[1-4]'"),
        (
            "resnet18@maxpool",
            ["cache_embeddings=false", "unfreeze_blocks=2"],
            "unfreeze_blocks = 2 is more than the 1 block of resnet18 up to maxpool",
        ),
    ],
)
def test_a_network_that_cannot_be_cut_there_is_named(
    tmp_path: Path, panel: str, settings: list[str], message: str
) -> None:
    write_photos(tmp_path, {"a": 1, "b": 1})
    settings = [setting if setting.startswith("networks.") else f"transfer.{setting}" for setting in settings]
    config = resolve_config("photos", data=str(tmp_path), panels=[panel], settings=settings)
    with pytest.raises(InputError, match=message):
        check_early(config)


def test_weights_do_not_matter_where_no_panel_has_a_backbone() -> None:
    check_early(resolve_config("digits", panels=["numpy-mlp"], settings=["transfer.weights=gone.pth"]))


def test_no_heavy_library_is_imported_for_it() -> None:
    code = (
        "import sys; from triptych.commands.preflight import check_early;"
        "from triptych.config.resolve import resolve_config; check_early(resolve_config(None));"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.photos import write_photos
from triptych.commands.preflight import check_inputs, check_tuning
from triptych.config.resolve import resolve_config
from triptych.errors import ConfigError, DataError


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

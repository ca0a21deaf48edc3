"""One cache for several users: it works where it can, else one line says what to do; and a full one is no end."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from triptych.commands.preflight import check_inputs
from triptych.config.resolve import resolve_config
from triptych.config.schema import BoardConfig
from triptych.data.boards import open_board, prepare_board
from triptych.data.datasets import fetch_dataset
from triptych.errors import StorageError
from triptych.panels.fitting import fit_panel
from triptych.system.files import check_cache
from triptych.training.jobs import list_jobs

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as another user")


@contextmanager
def another_user() -> Iterator[None]:
    """Act as a user without any right; modules that the block needs must be imported already."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache that every user may read, but only its owner may write; the folders of pytest are its owner's."""
    home = Path(tempfile.mkdtemp())
    home.chmod(0o755)
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(home / "cache"))
    yield home / "cache"
    shutil.rmtree(home)


@pytest.fixture
def board() -> BoardConfig:
    """A board whose libraries are imported."""
    fetch_dataset("digits")
    return resolve_config("digits").boards[0]


@needs_root
def test_an_absent_cache_that_may_not_be_made_is_one_line(cache: Path, board: BoardConfig) -> None:
    message = (
        rf"^{cache}/\S+ cannot be written \(Permission denied\): allow this user to write there, or set "
        "TRIPTYCH_CACHE_HOME to another folder$"
    )
    with another_user():
        with pytest.raises(StorageError, match=message):
            check_cache()
        with pytest.raises(StorageError, match=message):
            prepare_board(board)
    check_cache()


@needs_root
def test_what_another_user_prepared_is_used(cache: Path, board: BoardConfig) -> None:
    prepared = prepare_board(board)
    with another_user():
        assert prepare_board(board) == prepared
        assert len(open_board(prepared).pixels) == 1797
        with pytest.raises(StorageError, match="cannot be written"):
            check_cache()
    assert cache.is_dir()


@needs_root
@pytest.mark.parametrize("writable", [True, False])
def test_what_only_another_user_may_read_is_made_anew_where_that_is_allowed(
    cache: Path, board: BoardConfig, *, writable: bool
) -> None:
    prepared = prepare_board(board)
    for file in [prepared.split_file, *prepared.dataset_folder.iterdir()]:
        file.chmod(0o600)
        file.parent.chmod(0o777 if writable else 0o755)
    with another_user():
        if writable:
            assert prepare_board(board) == prepared
        else:
            with pytest.raises(StorageError, match=f"{cache}/.+ cannot be written"):
                prepare_board(board)


def test_something_else_in_the_place_of_the_cache_is_one_line(cache: Path) -> None:
    cache.touch()
    with pytest.raises(
        StorageError, match=r"cannot be written \(.+\): move away what is in its place, or set TRIPTYCH"
    ):
        check_inputs(resolve_config("digits"))


@contextmanager
def room(size_bytes: int) -> Iterator[None]:
    """Let no file grow larger than this, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_for_the_model_is_one_line(cache: Path, tmp_path: Path) -> None:
    settings = ["numpy_mlp.epochs=1", "numpy_mlp.checkpoint_epochs=0"]
    prepared = prepare_board(resolve_config("digits", panels=["numpy-mlp"], settings=settings).boards[0])
    data, [job] = open_board(prepared), list_jobs(prepared)[:1]
    with room(1_000), pytest.raises(StorageError, match=r"model cannot be written \(File too large\): make room there"):
        fit_panel(data, job, tmp_path / "model", lambda metrics: None)
    assert not list((cache / "trainings").rglob("*.npz"))


@pytest.mark.parametrize("size_bytes", [1_000, 100_000], ids=["split", "pixels"])
def test_a_full_cache_is_one_line_and_goes_on_when_there_is_room(
    size_bytes: int, cache: Path, board: BoardConfig
) -> None:
    message = r"cannot be written \(File too large\): make room there, or set TRIPTYCH_CACHE_HOME to another folder$"
    with room(size_bytes), pytest.raises(StorageError, match=message):
        prepare_board(board)
    left = [file for file in cache.rglob("*") if file.is_file()]
    assert all(file.parent.name == "splits" for file in left), "nothing takes room that is not complete"
    data = open_board(prepare_board(board))
    assert np.bincount(data.labels).sum() == len(data.pixels) == 1797

from __future__ import annotations

import gc
from queue import Queue

import pytest

from triptych.commands.startup import OBJECTS_BETWEEN_COLLECTIONS, garbage_collection_paused, import_early
from triptych.config.resolve import resolve_config


def test_the_garbage_collector_is_paused_and_started_again() -> None:
    thresholds = gc.get_threshold()
    try:
        with garbage_collection_paused():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] == OBJECTS_BETWEEN_COLLECTIONS
        with pytest.raises(ImportError), garbage_collection_paused():
            raise ImportError
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


@pytest.mark.parametrize(
    ("panels", "module"), [(["numpy-mlp"], "torch"), (["shufflenet_v2_x0_5"], "triptych.networks.light_torchvision")]
)
def test_what_takes_longest_is_imported_early(panels: list[str], module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    imported: Queue[str] = Queue()
    monkeypatch.setattr("triptych.commands.startup.importlib.import_module", imported.put)
    import_early(resolve_config("digits", panels=panels))
    assert imported.get(timeout=30) == module

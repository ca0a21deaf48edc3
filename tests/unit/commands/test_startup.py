from __future__ import annotations

from queue import Queue

import pytest

from triptych.commands.startup import import_early
from triptych.config.resolve import resolve_config


@pytest.mark.parametrize(
    ("panels", "module"), [(["numpy-mlp"], "torch"), (["shufflenet_v2_x0_5"], "triptych.networks.light_torchvision")]
)
def test_what_takes_longest_is_imported_early(panels: list[str], module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    imported: Queue[str] = Queue()
    monkeypatch.setattr("triptych.commands.startup.importlib.import_module", imported.put)
    import_early(resolve_config("digits", panels=panels))
    assert imported.get(timeout=30) == module

from __future__ import annotations

import json
from dataclasses import replace

import mlflow
import pytest

from helpers.comparisons import Recorded
from triptych.panels.kinds import KINDS
from triptych.tracking.client import connect
from triptych.tracking.registry.champions import register_panel
from triptych.tracking.registry.registering import _find_registered
from triptych.tracking.registry.versions import find_version


def test_a_model_is_registered_as_mlflow_does_it_itself(recorded: Recorded) -> None:
    prepared, uri = recorded.comparison.prepared, recorded.panel.model_uri
    register_panel(prepared, recorded.panel)
    ours, theirs = find_version("digits-numpy-mlp/1"), mlflow.register_model(uri, "digits-numpy-mlp")
    for name in ("run_id", "source", "model_id"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert str(ours.description).startswith("# numpy-mlp")
    links = json.loads(connect().get_logged_model(uri.removeprefix("models:/")).tags["mlflow.modelVersions"])
    assert [link.keys() for link in links] == [links[1].keys()] * 2
    assert [str(link["version"]) for link in links] == ["1", "2"]


@pytest.mark.parametrize("draws", [False, True])
def test_a_panel_that_draws_nothing_is_registered_once(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, *, draws: bool
) -> None:
    """A second run of it brings nothing new; one that draws, and was not restored, may."""
    prepared = recorded.comparison.prepared
    register_panel(prepared, recorded.panel)
    monkeypatch.setitem(KINDS, "numpy_mlp", replace(KINDS["numpy_mlp"], draws=lambda settings: draws))
    run = connect().get_run(recorded.panel.run_id)
    found = _find_registered("digits-numpy-mlp", prepared, replace(recorded.panel, run_id="another"), run)
    assert (found is None) == draws

from __future__ import annotations

import json

from triptych.evaluation.page.script import collect_script_data


def test_curves_are_means_over_the_repeats_that_have_not_stopped() -> None:
    longer, shorter = {"val_accuracy": [0.4, 0.6]}, {"val_accuracy": [0.6]}
    mistakes = {"images": ["a\tb"]}
    found = collect_script_data(["ant\x1b"], mistakes, {}, {"one": "#000000"}, {"one": [longer, shorter]}, None)
    assert found["curves"] == {"one": {"val_accuracy": [0.5, 0.6], "val_log_loss": []}}
    # Names from outside are text that no program obeys.
    assert (found["classes"], found["mistakes"]["images"]) == (["ant\\x1b"], ["a\\tb"])
    assert found["map"] is None
    json.dumps(found)


def test_a_map_has_the_names_of_its_points() -> None:
    mapped = {"names": ["a"], "tiles_per_row": 40, "groups": []}
    assert collect_script_data([], {"images": []}, {}, {}, {}, mapped)["map"] == {"names": ["a"], "perRow": 40}

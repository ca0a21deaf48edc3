from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.commands import run
from triptych.commands.backbones.listing import select_names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fits-in", "soon"], "--fits-in 'soon' is not a span: give seconds, minutes, hours or days, such as 2s"),
        (["--fits-in", "0s"], "--fits-in '0s' is not a span"),
        (["--fits-in", "-2s"], "--fits-in '-2s' is not a span"),
        (["--images", "0"], "--images 0 is not allowed: it must be at least 1"),
        (
            ["rsnet50"],
            "no pretrained network matches 'rsnet50': give a part of a name, or a pattern such as 'resnet*'; did",
        ),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], message: str) -> None:
    done = run("backbones", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr


def test_names_are_matched_by_a_part_or_a_pattern() -> None:
    assert select_names("ResNet5*") == ["resnet50"]
    assert "wide_resnet50_2" in select_names("resnet50")
    assert "timm:wide_resnet50_2" in select_names("timm:resnet50")
    assert {"timm:resnet10t", "timm:resnet101"} <= {*select_names("timm:resnet10*")}


def test_an_interrupt_keeps_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from triptych.transfer.overview import speeds
    from triptych.transfer.overview.networks import Network

    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(speeds, "SECONDS_TO_MEASURE", 0.0)
    measure = speeds.measure_speed

    def interrupt(network: Network) -> None:
        if network.name != "shufflenet_v2_x0_5":
            raise KeyboardInterrupt
        measure(network)

    monkeypatch.setattr(speeds, "measure_speed", interrupt)
    done = run("backbones", "shufflenet_v2_x?_[05]", "--measure")
    assert done.returncode == 130
    assert "what was measured is kept" in done.stderr
    assert "shufflenet_v2_x2_0" in done.stdout
    listed = run("backbones", "shufflenet_v2_x?_[05]", "--json")
    first, *others = json.loads(listed.stdout)
    assert (first["network"], first["dimension"]) == ("shufflenet_v2_x0_5", 1024)
    assert first["images_per_second"] > 0
    assert [one["images_per_second"] for one in others] == [None] * 3
    assert run("backbones", "shufflenet_v2_x0_5", "--fits-in", "0.001s").stdout == ""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from triptych.networks.precision import PRECISIONS
from triptych.transfer.choose_precision import MeasuredFormat, store_measured
from triptych.transfer.overview import speeds
from triptych.transfer.overview.networks import Network, describe_network
from triptych.transfer.overview.speeds import SAFE_FORMATS, Speed, estimate_seconds, measure_speed, recall_speed

MEASURED = [
    MeasuredFormat("float32", 10.0, 1.0),
    MeasuredFormat("float32-folded", 20.0, 1.0),
    MeasuredFormat("bfloat16", 40.0, 0.9995),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(speeds, "SECONDS_TO_MEASURE", 0.0)  # one image


@pytest.fixture
def network() -> Network:
    return describe_network("shufflenet_v2_x0_5")


def test_a_speed_is_measured_once(network: Network) -> None:
    assert recall_speed(network, 100) is None
    assert speeds.select_unmeasured([network], 100, None) == [network]
    measure_speed(network)
    speed = recall_speed(network, 100)
    assert speed is not None
    assert speed.images_per_second > 0
    assert speeds.select_unmeasured([network], 100, None) == []


def test_the_format_is_that_of_a_comparison(network: Network) -> None:
    store_measured(network.outline, SAFE_FORMATS, "float32-folded", MEASURED[:2])
    assert recall_speed(network, 100) == Speed("float32", 10.0), "few images are embedded exactly"
    assert recall_speed(network, 100_000) == Speed("float32-folded", 20.0)
    store_measured(network.outline, PRECISIONS["auto"], "bfloat16", MEASURED)
    assert recall_speed(network, 100) == Speed("bfloat16", 40.0)


def test_only_what_may_fit_is_measured_and_the_lightest_first(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speeds, "measure_ceiling", lambda device: network.operations * 128 / speeds.SLACK)
    heavy = replace(network, operations=2 * network.operations)
    select = speeds.select_unmeasured
    assert select([heavy, network], 100, 1.0) == [network]
    assert select([heavy, network], 100, 2.0) == select([heavy, network], 100, None) == [network, heavy]
    assert estimate_seconds(Speed("float32", 64.0), 100, "cpu") == 2.0


def test_a_network_that_cannot_be_measured_is_named(
    network: Network, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(name: str, weights: str) -> None:
        raise RuntimeError(f"no memory for {name}, {weights}")

    monkeypatch.setattr(speeds, "load_backbone", fail)
    measure_speed(network)
    assert "shufflenet_v2_x0_5 cannot be measured here: RuntimeError: no memory" in caplog.text


def test_the_ceiling_is_a_number() -> None:
    assert speeds.measure_ceiling("cpu") > 1e8

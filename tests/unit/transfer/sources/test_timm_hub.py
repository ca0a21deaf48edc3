from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from triptych.errors import WeightsError
from triptych.networks.backbones import build_network
from triptych.networks.families.timm_networks import TimmNetwork
from triptych.transfer.sources.timm_hub import check_timm_weights, fetch_timm_weights, load_as_timm, load_timm_weights

NAME, REPOSITORY = "timm:resnet10t", "timm/resnet10t.c3_in1k"


def test_weights_are_found_in_the_cache_of_the_hub_and_missed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "hf_hub_url", lambda *names: "http://127.0.0.1:9/" + "/".join(names))
    cached: list[Path] = []
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda repository, file: str(cached[0]) if cached else None
    )
    with pytest.raises(
        WeightsError, match=f"could not be downloaded .*: save {REPOSITORY}/model.safetensors in a file"
    ):
        fetch_timm_weights(NAME)
    with pytest.raises(WeightsError, match="are not in the cache of the Hugging Face hub: run `triptych compare`"):
        load_timm_weights(NAME)
    state = {key: value.contiguous() + 1 for key, value in build_network(NAME).state_dict().items()}
    cached.append(tmp_path / "model.safetensors")
    save_file(state, cached[0])
    fetch_timm_weights(NAME)
    assert all(torch.equal(value, state[key]) for key, value in load_timm_weights(NAME).items())
    cached[0].write_bytes(b"torn")
    with pytest.raises(WeightsError, match="is damaged or not of timm:resnet10t"):
        load_timm_weights(NAME)


def test_a_network_without_weights_is_named() -> None:
    with pytest.raises(WeightsError, match="timm has no pretrained weights of timm:coatnet_0_224 in safetensors"):
        check_timm_weights("timm:coatnet_0_224")


def test_weights_that_are_read_meanwhile_leave_random_ones_as_they_are(tmp_path: Path) -> None:
    save_file(
        {key: value.contiguous() for key, value in build_network(NAME).state_dict().items()}, tmp_path / "a.safetensors"
    )
    with ThreadPoolExecutor() as pool:
        read = [pool.submit(load_as_timm, TimmNetwork(NAME, {}), tmp_path / "a.safetensors") for _ in range(4)]
        drawn = list(pool.map(lambda _: build_network(NAME).state_dict(), range(4)))
        assert all(torch.equal(value, one.result()[key]) for one in read for key, value in drawn[0].items())
    assert all(torch.equal(value, other[key]) for other in drawn for key, value in drawn[0].items())

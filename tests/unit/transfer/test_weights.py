from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from triptych.errors import WeightsError
from triptych.images.preprocessing import Preprocessing
from triptych.networks.backbones import build_network
from triptych.networks.cuts.nodes import Cut
from triptych.transfer.weights import (
    check_weights,
    default_preprocessing,
    fetch_backbones,
    fetch_weights,
    load_backbone,
    load_weights,
)


def test_preprocessing_is_the_reports() -> None:
    expected = Preprocessing(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")
    assert default_preprocessing("vgg16") == default_preprocessing("resnet50") == expected


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_local_state_dict_is_loaded_strictly(tmp_path: Path, suffix: str) -> None:
    network = build_network("shufflenet_v2_x0_5", num_classes=7)
    with torch.no_grad():
        network.get_parameter("conv1.0.weight").mul_(2.0)
    file = tmp_path / f"weights{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(network.state_dict(), file)
    check_weights("shufflenet_v2_x0_5", str(file))
    loaded = load_backbone("shufflenet_v2_x0_5", str(file))
    assert torch.equal(loaded.trunk.get_parameter("conv1.0.weight"), network.get_parameter("conv1.0.weight"))


def test_mnasnet_and_the_old_names_of_densenet_are_understood(tmp_path: Path) -> None:
    save_file(build_network("mnasnet0_5").state_dict(), tmp_path / "mnasnet.safetensors")
    assert load_backbone("mnasnet0_5", str(tmp_path / "mnasnet.safetensors")).dimension == 1280
    state = build_network("densenet121").state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d\.)", r"\1.\2", key): value for key, value in state.items()}
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "densenet.pth")
    assert load_backbone("densenet121", str(tmp_path / "densenet.pth")).dimension == 1024


def test_a_state_dict_may_lack_what_lies_above_the_cut(tmp_path: Path) -> None:
    state = build_network("squeezenet1_1").state_dict()
    file = str(tmp_path / "lower.safetensors")
    save_file({key: value for key, value in state.items() if int(key.split(".")[1]) < 9}, file)
    lower = Cut("features.8")
    check_weights("squeezenet1_1", file, lower)
    assert (
        load_backbone("squeezenet1_1", file, lower).digest() == load_backbone("squeezenet1_1", "random", lower).digest()
    )
    for use in (check_weights, load_backbone):
        with pytest.raises(WeightsError, match=r"they lack features\.\d+\..* and \d+ others; .* a lower transfer\.cut"):
            use("squeezenet1_1", file, Cut("features"))
        save_file({"stem": torch.zeros(1)}, tmp_path / "foreign.safetensors")
        with pytest.raises(WeightsError, match="it has no stem; use weights of that network"):
            use("squeezenet1_1", str(tmp_path / "foreign.safetensors"), lower)


def test_half_precision_weights_become_single(tmp_path: Path) -> None:
    state = build_network("shufflenet_v2_x0_5").half().state_dict()
    save_file(state, tmp_path / "half.safetensors")
    loaded = load_backbone("shufflenet_v2_x0_5", str(tmp_path / "half.safetensors"))
    assert {parameter.dtype for parameter in loaded.trunk.parameters()} == {torch.float32}


def test_random_weights_are_the_same_in_every_thread_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    with ThreadPoolExecutor(4) as pool:
        digests = set(pool.map(lambda _: load_backbone("shufflenet_v2_x0_5", "random").digest(), range(8)))
    assert len(digests) == 1
    assert torch.equal(torch.rand(1), expected)


class Rude:
    """Something that would run code if it were unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("unpickled",))


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet18", "missing.pth", r"missing\.pth does not exist"),
        ("resnet18", "text.safetensors", r"text\.safetensors is damaged or not safetensors"),
        ("resnet18", "rude.pth", r"rude\.pth is damaged or not a state dict"),
        ("resnet18", "list.pth", r"list\.pth is damaged or not a state dict"),
        ("resnet18", "shuffle.pth", "do not fit resnet18: it has no conv1.0.weight and 335 others"),
        ("resnet18", "bundled", "'bundled' belong to shufflenet_v2_x0_5, not to resnet18"),
        ("resnet18", "imagnet", "unknown weights 'imagnet'.*did you mean 'imagenet'"),
        ("resnet18", "IMAGENET1K_V2", "unknown weights 'IMAGENET1K_V2' for resnet18"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, weights: str, message: str
) -> None:
    (tmp_path / "text.safetensors").write_text("no weights")
    torch.save(Rude(), tmp_path / "rude.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    torch.save(build_network("shufflenet_v2_x0_5").state_dict(), tmp_path / "shuffle.pth")
    given = str(tmp_path / weights) if "." in weights else weights
    for use in (check_weights, load_backbone):
        if weights == "bundled" and use is check_weights:
            continue  # known before PyTorch is imported
        with pytest.raises(WeightsError, match=message) as caught:
            use(name, given)
        assert "\n" not in str(caught.value)
    assert "unpickled" not in capsys.readouterr().out


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PyTorch's empty folder of downloaded weights, and no network."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_imagenet_weights_are_read_from_torch_home(torch_home: Path) -> None:
    file = torch_home / "resnet18-f37072fd.pth"
    torch.save(build_network("resnet18").state_dict(), file)
    fetch_weights("resnet18", "imagenet")
    state, preprocessing = load_weights("resnet18", "IMAGENET1K_V1")
    assert state is not None
    assert preprocessing.resize_size == 256
    [fetched] = fetch_backbones("resnet18", "imagenet", [Cut()])
    assert fetched.digest() == load_backbone("resnet18", "imagenet").digest()
    file.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=f"weights file {file} cannot be read .*: delete it"):
        load_weights("resnet18", "imagenet")


def test_only_fetching_downloads_weights(torch_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = torch_home / "resnet18-f37072fd.pth"
    with pytest.raises(WeightsError, match=f"are not at {file} and could not be downloaded .no network."):
        fetch_weights("resnet18", "imagenet")

    def download(url: str, place: str, *_: object, **__: object) -> None:
        assert url.endswith(file.name)
        torch.save(build_network("resnet18").state_dict(), place)

    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    with pytest.raises(WeightsError, match=f"are not at {file}: run `triptych compare` with them"):
        load_backbone("resnet18", "imagenet")
    assert not file.exists()
    assert [one.dimension for one in fetch_backbones("resnet18", "imagenet", [Cut()])] == [512]
    assert file.exists()


@pytest.mark.parametrize("weights", ["bundled", "random", "models:/digits-resnet18/1", "missing.pth"])
@pytest.mark.usefixtures("torch_home")
def test_weights_that_are_not_torchvisions_are_never_downloaded(weights: str) -> None:
    fetch_weights("shufflenet_v2_x0_5", weights)

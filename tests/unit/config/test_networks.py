from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from triptych.config.networks import _read_timm, check_folder, check_timm
from triptych.config.resolve import resolve_config
from triptych.errors import ConfigError


def write_folder(folder: Path, **config: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_names_are_read_from_the_source_as_timm_lists_them() -> None:
    import timm

    import triptych.networks.light_torchvision  # noqa: F401 - spares PyTorch's compiler

    names, tags = _read_timm()
    assert names == set(timm.list_models())
    tag = {tag.partition(".")[2] for tag in tags}
    assert {name.partition(".")[2] for name in timm.list_models(pretrained=True)} <= tag


@pytest.mark.parametrize(
    ("panel", "message"),
    [
        ("timm:resnet81", "timm has no network 'resnet81'; did you mean .*timm:resnet18"),
        ("timm:resnet18.a1_in1kk", "did you mean timm:resnet18.a1_in1k or timm:resnet18"),
        ("timm:", "timm has no network ''"),
        ("timm:resnet18@", "has no cut behind @"),
        ("hf:gone", "there is no such folder"),
        ("hf:empty", "it has no config.json"),
        ("hf:other", "is no JSON with the architecture"),
        ("hf:pickled", "has no .safetensors"),
        ("hf:with space", "rename it"),
    ],
)
def test_a_name_that_is_none_is_refused_in_one_line(
    panel: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    write_folder(tmp_path / "other", what="else")
    (write_folder(tmp_path / "pickled", architecture="resnet10t") / "model.safetensors").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        resolve_config("photos", data=str(tmp_path), panels=[panel])
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.config.networks.find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=r"needs timm: install it with `pip install 'triptych\[timm\]'`"):
        check_timm("timm:resnet18")
    with pytest.raises(ConfigError, match=r"pip install 'triptych\[hugging-face\]'"):
        check_folder("hf:vit", write_folder(tmp_path / "vit", model_type="vit"))
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "timm", ModuleType("timm"))  # it has no __spec__
    with pytest.raises(ConfigError, match="needs timm"):
        check_timm("timm:resnet18")


def test_a_folder_becomes_a_panel_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "a@b" / "net", architecture="resnet10t")
    monkeypatch.chdir(tmp_path / "a@b")
    own = "networks={'hf:net': {epochs: 3}, 'hf:net@layer1': {pooling: max}}"
    panels = ["hf:net", f"hf:{folder}@layer1", "hf:./net+resnet18"]
    [board] = resolve_config("photos", data=str(tmp_path), panels=panels, settings=[own]).boards
    assert board.panels == ("hf:net", "hf:net@layer1", "hf:net+resnet18")
    found = [board.for_panel(panel).transfer for panel in board.panels[:2]]
    assert [(one.weights, one.epochs, one.cut, one.pooling) for one in found] == [
        (str(folder), 3, "penultimate", "average"),
        (str(folder), 3, "layer1", "max"),
    ]
    monkeypatch.chdir(tmp_path)
    assert type(board).model_validate(board.model_dump()) == board, "its record is read wherever it is"


def test_two_folders_of_one_name_and_other_weights_are_refused(tmp_path: Path) -> None:
    folders = [write_folder(tmp_path / where / "net", architecture="resnet10t") for where in ("a", "b")]
    for panels, settings, message in (
        ([f"hf:{folder}" for folder in folders], [], "rename one of two folders"),
        ([f"hf:{folders[0]}"], ["transfer.weights=random"], "has the weights of its folder, not 'random'"),
        (["timm:resnet18.a1_in1k@a-b", "timm:resnet18.a1_in1k@a.b"], [], "are spelt alike in MLflow"),
    ):
        with pytest.raises(ConfigError, match=message):
            resolve_config("photos", data=str(tmp_path), panels=panels, settings=settings)


@pytest.mark.parametrize(
    ("panel", "setting", "message"),
    [
        ("hf:net", "networks=3", "networks = 3 is not allowed"),
        ("hf:net", "networks={resnet18: 3}", "networks.resnet18 = 3 is not allowed"),
        ("hf:net", "transfer=5", "transfer = 5 is not allowed"),
        ("hf:gone", "transfer.weights=/some/file.pth", "there is no such folder"),
        ("hf:net", "networks={hf:some/net: {epochs: 3}}", "set networks.hf:net"),
        ("vgg11+resnet18", "networks={resnet18+vgg11: {epochs: 3}}", r"set networks.vgg11\+resnet18"),
        ("vgg11+vgg11@penultimate", "transfer.epochs=3", "combines a network with itself"),
    ],
)
def test_settings_that_would_be_ignored_or_do_not_fit_are_refused_in_one_line(
    panel: str, setting: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "net", architecture="resnet10t")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        resolve_config("photos", data=str(tmp_path), panels=[panel], settings=[setting])

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from triptych.config.presets import PRESETS
from triptych.config.resolve import Config, resolve_config
from triptych.config.schema import BoardConfig
from triptych.errors import ConfigError
from triptych.panels.twins import explain_twins


@pytest.mark.parametrize("preset", ["digits", "report", "matched"])
def test_a_preset_is_complete(preset: str) -> None:
    assert resolve_config(preset).boards == PRESETS[preset].boards


def test_the_default_is_digits() -> None:
    assert resolve_config().preset == "digits"


def test_a_short_form_is_filled_from_its_preset() -> None:
    assert Config.model_validate({"preset": "matched"}).boards == PRESETS["matched"].boards


def test_report_is_to_the_letter() -> None:
    mnist = resolve_config("report").boards[0]
    assert (mnist.split.test_fraction, mnist.split.validation_fraction) == (0.3, 0.0)
    ours, theirs = mnist.numpy_mlp, mnist.torch_mlp
    assert (ours.hidden_units, ours.learning_rate, ours.batch_size, ours.epochs) == ((50, 50), 0.1, 100, 50)
    assert (theirs.hidden_units, theirs.learning_rate, theirs.momentum) == ((50,), 0.01, 0.9)
    assert (ours.loss, ours.loss_reduction, theirs.loss_reduction) == ("squared_error", "sum", "mean")


def test_the_twins_of_digits_and_matched_are_configured_alike() -> None:
    for preset in ("digits", "matched"):
        assert explain_twins(PRESETS[preset].boards[0]) == []


def test_reports_networks_are_said_not_to_be_twins() -> None:
    settings, gradient, ladder = explain_twins(PRESETS["report"].boards[0])
    assert settings == (
        "numpy-mlp and torch-mlp are not twins; they differ in learning_rate: 0.1 against 0.01; momentum: 0.0 against "
        "0.9; epochs: 50 against 200; hidden_units: [50, 50] against [50]; loss_reduction: sum against mean; "
        "initialisation: normal against uniform_fan_in"
    )
    assert "smaller gradient than its sum, by the number of classes" in gradient
    assert "preset ladder" in ladder


def test_the_ladder_changes_the_reports_torch_network_towards_the_other_step_by_step() -> None:
    report = PRESETS["report"].boards[0]
    changed = set()
    for board in PRESETS["ladder"].boards:
        assert board.torch_mlp == report.torch_mlp
        fields = {
            name
            for name in type(board.numpy_mlp).model_fields
            if getattr(board.numpy_mlp, name) != getattr(board.torch_mlp, name)
        }
        assert all(getattr(board.numpy_mlp, name) == getattr(report.numpy_mlp, name) for name in fields)
        # The learning rate and the momentum belong together: 0.01 / (1 - 0.9) is 0.1.
        assert len(fields) == 1 or fields == {"learning_rate", "momentum"}
        changed |= fields
    differing = {
        name
        for name in type(report.numpy_mlp).model_fields
        if getattr(report.numpy_mlp, name) != getattr(report.torch_mlp, name)
    }
    assert changed == differing


def test_panels_choose_the_boards_that_have_their_kind() -> None:
    assert [board.name for board in resolve_config("report", panels=["torch-mlp"]).boards] == ["report-mnist"]
    assert [board.panels for board in resolve_config("report", panels=["resnet18"]).boards] == [("resnet18",)]


def test_a_folder_without_a_preset_means_photos(tmp_path: Path) -> None:
    assert resolve_config(data=str(tmp_path)).preset == "photos"
    assert resolve_config(data="mnist").preset == "digits"


def test_settings_win_over_the_file_and_reach_every_board(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "preset: report\nnumpy_mlp: {epochs: 7, batch_size: 10}\nboards: {report-flowers102: {transfer: {epochs: 3}}}\n"
    )
    settings = ["numpy_mlp.epochs=9", "report-mnist.repeats=4", "class_weights=balanced"]
    mnist, flowers = resolve_config(file=file, settings=settings).boards
    assert mnist.class_weights == flowers.class_weights == "balanced"
    assert (mnist.numpy_mlp.epochs, mnist.numpy_mlp.batch_size, mnist.repeats) == (9, 10, 4)
    assert (flowers.numpy_mlp.epochs, flowers.transfer.epochs, flowers.repeats) == (9, 3, 2)


@pytest.mark.parametrize("content", [b"boards: [1, 2]", b"boards: {digits: 5}", b"\xff\xfe", b"[1]", b"1: 2", b"a: ["])
def test_files_that_are_no_configuration_are_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "odd.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"--config .*odd\.yaml"):
        resolve_config(file=file)


def test_lists_are_written_in_yaml() -> None:
    [board] = resolve_config(settings=["numpy_mlp.hidden_units=[30, 20]"]).boards
    assert board.numpy_mlp.hidden_units == (30, 20)


def test_directories_are_spelled_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [board] = resolve_config("photos", data="My Photos", settings=["transfer.weights=w.pth"]).boards
    assert board.data.source == f"folder:{tmp_path / 'My Photos'}"
    assert board.transfer.weights == str(tmp_path / "w.pth")
    assert re.fullmatch(r"photos-my-photos-[0-9a-f]{6}", board.name)


def test_two_folders_are_two_boards_whatever_their_names(tmp_path: Path) -> None:
    folders = [
        tmp_path / "Ann" / "cats",
        tmp_path / "Bob" / "cats",
        tmp_path / "Ann" / "Cats",
        tmp_path / "Ann" / "c ats",
    ]
    names = {resolve_config(data=str(folder)).boards[0].name for folder in folders}
    assert len(names) == len(folders)
    assert resolve_config(data=str(folders[0])).boards[0].name in names
    [board] = resolve_config(data=str(folders[0]), settings=["name=cats"]).boards
    assert board.name == "cats"


def test_every_field_is_described() -> None:
    schema = Config.model_json_schema()
    for section in schema["$defs"].values():
        assert all("description" in field or "$ref" in field for field in section["properties"].values())


def test_flat_fields_are_named_by_section() -> None:
    flat = BoardConfig().flat()
    assert flat["numpy_mlp.epochs"] == 50
    assert flat["name"] == "digits"
    networks = {"vgg16@features": {"epochs": 3}, "timm:resnet18": {"epochs": 4}}
    named = {name for name in BoardConfig(networks=networks).flat() if name.startswith("networks")}
    assert named == {"networks.vgg16--features", "networks.timm-resnet18"}, "MLflow takes no other letters"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"preset": "digit"}, "unknown preset 'digit'.*did you mean 'digits'"),
        ({"panels": ["resnet5"]}, "unknown panel 'resnet5'.*did you mean 'resnet50'"),
        ({"preset": "matched", "panels": ["vgg16"]}, "no board of this preset has a panel like vgg16"),
        ({"settings": ["numpy_mlp.epoch=3"]}, "unknown field 'numpy_mlp.epoch'.*did you mean 'epochs'"),
        ({"settings": ["numpy.epochs=3"]}, "unknown field 'numpy'.*did you mean 'numpy_mlp'"),
        ({"settings": ["numpy_mlp.epochs=-3"]}, "numpy_mlp.epochs = -3 is not allowed.*greater than or equal to 1"),
        ({"settings": ["numpy_mlp.activation=gelu"]}, "'gelu' is not allowed.*'sigmoid', 'tanh' or 'relu'"),
        ({"settings": ["numpy_mlp.epochs"]}, "has no value: write --set section.field=value"),
        ({"settings": ["digits=3"]}, "names a board but no field"),
        ({"settings": ["panels=[vgg16, vgg16]"]}, "name one panel twice"),
        ({"panels": ["vgg61@features"]}, "unknown panel 'vgg61@features'.*did you mean 'vgg1[0-9]@features'"),
        ({"panels": ["numpy-mlp@features"]}, "unknown panel 'numpy-mlp@features'"),
        ({"panels": ["vgg16@"]}, "panel 'vgg16@' has no cut behind @: write vgg16@features"),
        ({"settings": ["panels=[vgg16, vgg16@features]", "transfer.cut=features"]}, "name one panel twice"),
        ({"panels": ["vgg16+resnet5"]}, "unknown panel 'resnet5': a network to combine is a.*did you mean 'resnet50'"),
        ({"panels": ["vgg16+numpy-mlp"]}, "unknown panel 'numpy-mlp': a network to combine is a torchvision"),
        ({"panels": ["vgg16+"]}, "unknown panel ''"),
        ({"panels": ["vgg16+vgg16"]}, "combines a network with itself"),
        ({"settings": ["panels=[vgg16+resnet18, resnet18+vgg16]"]}, "name one panel twice"),
        ({"settings": ["panels=[vgg16+resnet18]", "transfer.cache_embeddings=false"]}, "needs stored embeddings"),
        ({"settings": ["transfer.cut=a/b"]}, "transfer.cut = 'a/b' is not allowed"),
        ({"settings": ["transfer.pooling=mean"]}, "transfer.pooling = 'mean' is not allowed"),
        ({"preset": "photos"}, "comes without images: name a folder with --data DIR"),
        ({"preset": "report", "data": "mnist"}, "is one data set, but preset 'report' has the boards"),
        ({"data": "mnist", "settings": ["data.source=digits"]}, "both name the data: keep one"),
        ({"settings": ["split.seed=-1"]}, "split.seed = -1 is not allowed"),
        ({"settings": ["class_weights=equal"]}, "class_weights = 'equal' is not allowed.*'none' or 'balanced'"),
        ({"settings": ["epochs=5"]}, "name its section, as numpy_mlp.epochs or torch_mlp.epochs or transfer.epochs"),
        ({"settings": ["numpy_mlp.hidden_units=100"]}, r"it is a list, so write numpy_mlp.hidden_units=\[100\]"),
        ({"panels": ["numpy-mlp,torch-mlp"]}, "repeat the option, as --panel numpy-mlp --panel torch-mlp"),
        ({"settings": ["transfer.weights=foo"]}, "unknown weights 'foo': use imagenet, bundled, random"),
        ({"data": "x" * 5000}, r"'x{80}' is not a path \(File name too long\)"),
        ({"data": "a\0b"}, "is not a path"),
        ({"settings": ["name=" + "a" * 200]}, "name = 'a+ is not allowed"),
        ({"settings": ["numpy_mlp.epochs=" + "[" * 9999]}, "is not valid YAML"),
        ({"file": Path("/nowhere.yaml")}, "cannot read --config /nowhere.yaml"),
    ],
    ids=str,
)
def test_bad_input_is_one_line_with_value_rule_and_remedy(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        resolve_config(**given)
    assert "\n" not in str(caught.value)


def test_each_network_may_have_its_own_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ["transfer.weights=random", "networks.vgg16.weights=mine.pth", "networks.vgg16.cut=features"]
    panels = ["vgg16+resnet18", "vgg16", "numpy-mlp"]
    [board] = resolve_config("digits", settings=[*settings, f"panels={panels}"]).boards
    assert board.list_weights("vgg16+resnet18") == [str(tmp_path / "mine.pth"), "random"]
    assert board.backbone_parts == ("vgg16", "resnet18")
    assert board.for_panel("vgg16").transfer.cut == "features"


def test_a_panel_may_name_its_cut() -> None:
    settings = ["transfer.cut=layer4", "networks={resnet18: {epochs: 3}, resnet18@layer2: {pooling: max}}"]
    panels = ["resnet18", "resnet18@layer1", "resnet18@layer2"]
    [board] = resolve_config("digits", panels=panels, settings=settings).boards
    found = [board.for_panel(panel).transfer for panel in panels]
    assert [(one.cut, one.pooling, one.epochs) for one in found] == [
        ("layer4", "average", 3),
        ("layer1", "average", 3),
        ("layer2", "max", 3),
    ]
    assert not {"transfer.cut", "transfer.pooling"} & BoardConfig().flat().keys(), "earlier studies keep their names"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("networks={resnet5: {epochs: 3}}", "networks has 'resnet5', which is not a pretrained network.*did you mean"),
        ("networks={resnet50: {epoch: 3}}", "networks.resnet50: unknown field 'epoch'"),
        ("networks={resnet50: {precision: float32}}", "the same for all networks: set transfer.precision"),
        ("networks={resnet50: {weights: rnd}}", "networks.resnet50: unknown weights 'rnd'"),
        ("networks={resnet50: {weights: 3}}", "networks.resnet50: weights = 3 is not allowed"),
        ("networks={resnet50+vgg61: {epochs: 3}}", "networks has 'vgg61', which is not.*did you mean 'vgg1"),
        ("networks={resnet50+vgg16: {cut: features}}", "belongs to one network: set networks.resnet50.cut"),
        ("networks={resnet50: {epochs: 0}}", "networks.resnet50: epochs = 0 is not allowed"),
    ],
)
def test_wrong_networks_are_named(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_config("digits", settings=[setting])


@pytest.mark.parametrize(
    "value", ["010", "1:30", "true", "'5'", "5.0", "0x10", ".inf", "10^30", "1" + "0" * 30, "[5]", ""]
)
def test_a_whole_number_is_one(value: str) -> None:
    with pytest.raises(ConfigError, match=r"numpy_mlp\.epochs = .* is not allowed"):
        resolve_config("digits", settings=[f"numpy_mlp.epochs={value}"])


@pytest.mark.parametrize(("value", "number"), [("1e-3", 0.001), (".5", 0.5), ("1", 1.0), ("1.0e-05", 1e-05)])
def test_a_number_may_have_an_exponent(value: str, number: float) -> None:
    [board] = resolve_config("digits", settings=[f"numpy_mlp.learning_rate={value}"]).boards
    assert board.numpy_mlp.learning_rate == number


@pytest.mark.parametrize("value", ["true", "010", "1:30", "'0.1'", "1e400"])
def test_a_number_is_neither_text_nor_true(value: str) -> None:
    with pytest.raises(ConfigError, match=r"numpy_mlp\.learning_rate = .* is not allowed"):
        resolve_config("digits", settings=[f"numpy_mlp.learning_rate={value}"])


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan"])
def test_numbers_are_finite(value: str) -> None:
    with pytest.raises(ConfigError, match=r"logistic_regression\.weight_decay = .* is not allowed"):
        resolve_config("digits", settings=[f"logistic_regression.weight_decay={value}"])

"""Bad and hostile inputs of the whole command line: exit code 2, one line, no traceback, and nothing is trained."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from helpers.commands import run
from helpers.photos import write_scenes
from triptych.evaluation.report import ComparisonResult
from triptych.tracking.store import check_store

MLP = "compare --panel numpy-mlp --set numpy_mlp"
FETCH = "fetch {} --to new"

# A command line, and what its message says.
OPTIONS = {
    "nonsense": "No such command 'nonsense'",
    "compare --nonsense": "No such option",
    "compare nonsense": "unexpected extra argument",
    "compare --fresh=3": "does not take a value",
    "compare --preset digit": "did you mean 'digits'",
    "compare --panel resnet5": "did you mean 'resnet50'",
    "compare --panel ''": "unknown panel ''",
    "compare --panel numpy-mlp,torch-mlp": "repeat the option, as --panel numpy-mlp --panel torch-mlp",
    "compare --preset matched --panel vgg16": "no board of this preset has a panel like vgg16",
    "compare --preset photos": "name a folder with --data DIR",
    "compare --preset report --data mnist": "is one data set, but preset 'report' has the boards",
    "compare --tuned --panel numpy-mlp": "finds no study of numpy-mlp",
    "compare --runner ray": "use threads, dask or dask:tcp://HOST:PORT",
    "compare --runner ''": "use threads, dask or dask:tcp://HOST:PORT",
    "compare --runner dask:tcp://127.0.0.1:99999": "not between 1 and 65535",
    "compare --runner dask:tcp://127.0.0.1:0": "not between 1 and 65535",
    "compare --runner dask:tcp://127.0.0.1:1": "no Dask scheduler answers there",
    "tune": "Missing argument 'PANEL'",
    "tune numpy-ml": "did you mean 'numpy-mlp'",
    "tune most-frequent": "has nothing to tune",
    "tune numpy-mlp --trials 0": "between 1 and 100,000",
    f"tune numpy-mlp --trials 1{'0' * 30}": "between 1 and 100,000",
    "tune numpy-mlp --trials few": "Invalid value for '--trials'",
    "tune numpy-mlp --workers -1": "between 1 and 100,000",
    "tune numpy-mlp --set split.validation_fraction=0": "tuning needs a validation set",
    "tune numpy-mlp --set split.folds=5": "has no single validation set to tune on: set split.folds=0",
    "compare --tuned --set split.folds=5": "would test on images that the settings were chosen on",
    "cache nonsense": "No such command 'nonsense'",
    "cache prune --older-than -1": "give 0 or more",
    "cache prune --older-than nan": "give 0 or more",
    "cache prune --kind studies": "unknown kind 'studies'",
    "store move nonsense": "unexpected extra argument",
}
FIELDS = {
    "compare --set epochs=5": "name its section, as numpy_mlp.epochs",
    "compare --set nonsense.epochs=5": "unknown field 'nonsense'",
    "compare --set digits=3": "names a board but no field",
    "compare --set =5": "write --set section.field=value",
    f"{MLP}=5": "numpy_mlp = 5 is not allowed",
    f"{MLP}.epoch=5": "did you mean 'epochs'",
    f"{MLP}.epochs": "has no value",
    f"{MLP}.epochs=": "is not allowed",
    f"{MLP}.epochs=0": "greater than or equal to 1",
    f"{MLP}.epochs=010": "'010' is not allowed",
    f"{MLP}.epochs=1:30": "'1:30' is not allowed",
    f"{MLP}.epochs=true": "True is not allowed",
    f"{MLP}.epochs=.inf": "inf is not allowed",
    f"{MLP}.epochs=10^30": "is not allowed",
    f"{MLP}.epochs=1{'0' * 30}": "is not allowed",
    f"{MLP}.epochs=[1": "not valid YAML",
    f"{MLP}.epochs={'[' * 9999}": "not valid YAML",
    f"{MLP}.hidden_units=100": r"write numpy_mlp.hidden_units=\[100\]",
    f"{MLP}.hidden_units=[0]": "greater than or equal to 1",
    f"{MLP}.learning_rate=-1": "greater than 0",
    f"{MLP}.activation=gelu": "'sigmoid', 'tanh' or 'relu'",
    "compare --set split.test_fraction=1": "less than 1",
    "compare --set split.test_fraction=0.0001": "too small to contain all 10 classes",
    "compare --set split.seed=4294967296": "less than 4294967296",
    "compare --set split.folds=1": "set 2 or more, or 0 for one test set",
    "compare --set split.folds=101": "less than or equal to 100",
    "compare --set split.folds=5 --set transfer='{cache_embeddings: false, unfreeze_blocks: 1}'": "is fine-tuned",
    "compare --set repeats=1000000": "less than or equal to 10000",
    "compare --set name='../etc'": "name = '../etc' is not allowed",
    f"compare --set name={'a' * 300}": "at most 120 characters",
    "compare --set panels=[]": "at least 1 item",
    "compare --set pools='{x: y}'": "not a panel of this board",
    "compare --set networks='{resnet: {}}'": "did you mean 'resnet50'",
    "compare --set transfer.weights=imagnet": "did you mean 'imagenet'",
    "compare --set transfer.weights=gone.pth": "does not exist: check transfer.weights",
    "compare --set transfer.weights=models:/nobody": "no registered model 'nobody'",
    "compare --config gone.yaml": "No such file or directory",
    "compare --config .": "Is a directory",
    "compare --config torn.yaml": "is not YAML",
    "compare --config binary.yaml": "is not YAML",
    "compare --config deep.yaml": "is not YAML",
    "compare --config code.yaml": "is not YAML",
    "compare --config list.yaml": "must map sections to fields",
    "compare --config null.yaml": "numpy_mlp = None is not allowed",
}
DATA = {
    "compare --data gone": "neither a directory nor the name of a data set",
    "compare --data ''": "unknown data set ''",
    "compare --data ftp://host/photos": "unknown data set",
    f"compare --data {'x' * 5000}": "File name too long",
    "compare --data empty": r"has 0 class\(es\)",
    "compare --data one-class": r"has 1 class\(es\)",
    "compare --data gone.csv": r"the table .*gone\.csv does not exist",
    "compare --data table:empty": r"is a folder without metadata\.csv",
    "compare --data digits --set data.label_column=x": "is no table: leave it out",
    "compare --data bomb --panel numpy-mlp": "10000 x 10000 pixels, a decompression bomb",
    "compare --data torn.png": "is a file: give a folder of images",
    "compare --data idx:empty": "is incomplete",
    "check gone": "neither a directory nor the name of a data set",
    "check table.csv --set data.label_column=clas": "did you mean 'class'",
    "check table.csv --set numpy_mlp.epochs=3": "--set numpy_mlp concerns no data",
    "check idx:gone": "is no folder: give the one that has the IDX files",
    "check": "Missing argument 'DATA'",
    "predict digits gone.png": "does not exist",
    "predict digits empty": "contains no image",
    "predict digits": "Missing argument 'IMAGE",
}
RECORDED = {
    "show --since 3": "is not a span",
    "show --since 0h": "is not a span",
    "show --since \uff11h": "is not a span",
    "report nobody": "no comparison 'nobody'",
    """report "' OR 1=1 --" """: "no comparison",
    "fetch digits": "Missing option '--to'",
    FETCH.format("nobody"): "no registered model 'nobody': registered are digits",
    FETCH.format("digit"): "did you mean 'digits'",
    FETCH.format("digits/99"): "has no version with number '99': it has version 1; name one as digits/1",
    FETCH.format("digits@nobody"): "has no version with alias 'nobody'",
    FETCH.format("''"): "no registered model ''",
    "fetch digits --to full": "is not empty: name a new one",
    "fetch digits --to torn.png": "cannot be used",
    "fetch digits --to new --format tflite": "use mlflow or onnx",
    "promote digits": "give NAME/VERSION",
    "promote digits/": "has no version with number ''",
    "promote digits/9": "it has version 1; name one as digits/1",
    "promote digits/../1": "has no version with number",
    "rollback nobody": "no registered model 'nobody'",
    "rollback digits": "there is no previous one",
    "rollback digits-numpy-mlp": "has no version with alias 'champion'",
    "predict digits-numpy-mlp image.png": "has no version with alias 'champion'",
    "predict nobody image.png": "no registered model 'nobody'",
    "predict digits image.png --json --csv": "exclude each other",
    "predict digits image.png --top 0": "Invalid value for '--top'",
}
ENVIRONMENT = {
    ("show", "MLFLOW_TRACKING_URI", "mlflow.db"): "is not the address of a store",
    ("show", "MLFLOW_TRACKING_URI", "file:///tmp/mlruns"): "is not the address of a store",
    ("show", "MLFLOW_TRACKING_URI", "http://127.0.0.1:1"): "no tracking server answers",
    ("show", "MLFLOW_TRACKING_URI", "postgresql://127.0.0.1:1/x"): "cannot be opened",
    ("show", "MLFLOW_TRACKING_URI", "sqlite:///torn.png"): "file is not a database",
    ("show", "MLFLOW_TRACKING_URI", "sqlite:///torn.png/mlflow.db"): "cannot be created",
    ("show", "MLFLOW_TRACKING_URI", "sqlite:///a%20b/mlflow.db"): "neither '\\?' nor escapes",
    ("show", "MLFLOW_REGISTRY_URI", "registry"): "MLFLOW_REGISTRY_URI=registry cannot be used",
    ("compare", "MLFLOW_TRACKING_URI", "mlflow.db"): "is not the address of a store",
    ("compare", "PREFECT_API_URL", "localhost:4200"): "no Prefect server answers",
    ("compare", "PREFECT_API_URL", "http://127.0.0.1:1/api"): "no Prefect server answers",
    ("compare", "ALL_PROXY", "socks5://127.0.0.1:9"): "ALL_PROXY cannot be used",
}


def shorten(case: object) -> str:
    return str(case)[:80]


@pytest.fixture(scope="module", autouse=True)
def _folder(result: ComparisonResult, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The store of a comparison, and a working directory with what the commands name."""
    del result
    folder = tmp_path_factory.mktemp("inputs")
    for name in ("empty", "full/folder", "one-class/a"):
        (folder / name).mkdir(parents=True)
    for name in ("image.png", *(f"one-class/a/{number}.png" for number in range(8))):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / name)
    write_scenes(folder / "bomb")
    Image.new("1", (10_000, 10_000)).save(folder / "bomb" / "train" / "a" / "bomb.png")
    (folder / "torn.png").write_bytes(b"\x89PNG and no more, though long enough" * 20)
    texts = {"torn": "a: [", "deep": "a: " + "[" * 9999, "list": "- 1", "null": "numpy_mlp: null"}
    texts["code"] = 'numpy_mlp: !!python/object/apply:os.system ["touch hacked"]'
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "table.csv").write_text("path,class\nimage.png,a\n")
    (folder / "binary.yaml").write_bytes(bytes(range(128, 256)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # Everything here is refused before the server is needed, which takes seconds to start.
        patch.setattr("triptych.commands.startup.TemporaryServer", lambda: None)
        yield
    assert not (folder / "hacked").exists()
    assert not (folder / "new").exists()


@pytest.mark.parametrize(("command", "message"), [*(OPTIONS | FIELDS | DATA | RECORDED).items()], ids=shorten)
@pytest.mark.timeout(60, func_only=True)
def test_bad_input_is_refused_in_one_line(command: str, message: str) -> None:
    check(command, message)


@pytest.mark.parametrize(("command", "message"), [*ENVIRONMENT.items()], ids=shorten)
@pytest.mark.timeout(60, func_only=True)
def test_a_bad_environment_is_refused_in_one_line(
    command: tuple[str, str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_store.cache_clear()
    line, name, value = command
    monkeypatch.setenv(name, value)
    check(line, message)


def check(command: str, message: str) -> None:
    done = run(*shlex.split(command))
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("triptych: ")
    assert re.search(message, line), line
    assert "Traceback" not in done.stdout


def test_there_are_enough_of_them() -> None:
    assert len(OPTIONS | FIELDS | DATA | RECORDED | ENVIRONMENT) >= 80

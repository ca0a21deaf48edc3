"""Real parts in folders of their own: cache, tracking store, Prefect server, image files."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.system.environment import apply_environment

MakePhotos = Callable[..., Path]

# Before anything imports Prefect or MLflow: no telemetry, no window system.
apply_environment(quiet=True)

# A shell ignores interrupts for what it starts in the background, and that is inherited: Prefect's worker, which takes
# a request to end as an interrupt, would not end.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's cache, store and Prefect home out of the tests; her data home may be read."""
    homes = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPTYCH_CACHE_HOME", str(homes / "cache"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{homes / 'mlflow.db'}")
        patch.setenv("PREFECT_HOME", str(homes / "prefect"))
        patch.delenv("PREFECT_API_URL", raising=False)
        yield


@pytest.fixture(scope="module", autouse=True)
def _own_import_path() -> Iterator[None]:
    """Forget the modules that models carry, which MLflow puts first on the import path, also of processes to come."""
    before = sys.path
    yield
    sys.path = before


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A real Prefect server, for all tests that run flows."""
    import prefect.settings
    from prefect.settings import temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    # The heartbeat thread sleeps in steps of a second, which every flow run would wait for.
    quick = {prefect.settings.PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with prefect_test_harness(server_startup_timeout=120), temporary_settings(quick):
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[dict[str, str]]:
    """A new PostgreSQL on a free port of this machine, as the environment variables of its clients."""
    installed = [str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    found = shutil.which("initdb", path=os.pathsep.join([*installed, os.environ["PATH"]]))
    if found is None:
        pytest.skip("needs PostgreSQL: there is no initdb under /usr/lib/postgresql nor on PATH")
    programs = Path(found).resolve().parent
    # PostgreSQL refuses to run as root, and its own user may not enter pytest's folders.
    user = "postgres" if os.geteuid() == 0 else getpass.getuser()
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    (folder / "password").write_text("correct horse battery", encoding="utf-8")
    for path in (folder, folder / "password"):
        shutil.chown(path, user)
    other: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}
    run = partial(subprocess.run, cwd=folder, check=True, stdout=subprocess.DEVNULL, **other)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    try:
        create = ["-D", "data", "--username=triptych", "--pwfile=password", "--auth=scram-sha-256", "--no-sync"]
        run([programs / "initdb", *create])
        serve = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        run([programs / "pg_ctl", "-D", "data", "-l", "log", "-w", "-o", serve, "start"])
        yield {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGUSER": "triptych",
            "PGPASSWORD": (folder / "password").read_text(encoding="utf-8"),
        }
        run([programs / "pg_ctl", "-D", "data", "-w", "-m", "fast", "stop"])
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def data_home() -> Path:
    """The folder with the real MNIST, photos and weights."""
    home = os.environ.get("TRIPTYCH_DATA_HOME", "")
    if not (Path(home) / "mnist" / "MNIST" / "raw").is_dir():
        pytest.skip("needs real data: TRIPTYCH_DATA_HOME names no folder with mnist/MNIST/raw")
    return Path(home)


@pytest.fixture(scope="session")
def digits() -> BoardData:
    """scikit-learn's digits with the default split."""
    return load_board(prepare_board(resolve_config("digits").boards[0]))


def write_photos(folder: Path, classes: dict[str, int], seed: int = 0) -> Path:
    """Write small JPEG files of several sizes, a class of them reddish, the next greenish, and so on."""
    rng = np.random.default_rng(seed)
    for channel, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            height, width = rng.integers(40, 80, size=2)
            pixels = rng.integers(0, 100, size=(height, width, 3), dtype=np.uint8)
            pixels[:, :, channel % 3] += 100
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")
    return folder


@pytest.fixture(scope="session")
def make_photos() -> MakePhotos:
    """The function that writes a folder of photos."""
    return write_photos


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 easy photos in two classes."""
    return write_photos(tmp_path_factory.mktemp("photos") / "colours", {"green": 20, "red": 20})

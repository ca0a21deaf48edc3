"""Registered panels, loaded to predict with the libraries that they need, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from triptych.errors import ConfigError, describe_error
from triptych.images.depth import WHITE
from triptych.networks.familiar.distances import Familiarity
from triptych.networks.saved import Network, load_model
from triptych.tracking.client import connect

# What panels of this version and of 0.1 name as their loader.
LOADERS = ("triptych.networks.saved", "triptych.served")


@dataclass(frozen=True)
class LoadedVersion:
    """A version of a registered model that is loaded.

    Attributes:
        network: the panel.
        classes: the class names, in the order of the probabilities.
        white_level: that of the images it was trained on.
        familiarity: recognises foreign images; None for models of earlier versions, and without a validation set.
    """

    network: Network
    classes: tuple[str, ...]
    white_level: int
    familiarity: Familiarity | None = None


def load_version(version: ModelVersion) -> LoadedVersion:
    """Return the panel of a version, loaded by this package, without the code that travels with it.

    Raises:
        ConfigError: its files are gone, or it is no panel.
        DamagedFileError: they are not those that were logged.
    """
    uri = f"models:/{version.name}/{version.version}"
    with explained(uri), TemporaryDirectory() as own:
        # Files of this machine are read where they are. Others would stay in a folder that nobody deletes.
        place = connect().get_model_version_download_uri(version.name, version.version)
        local = urlsplit(place).scheme in {"", "file"}
        folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=None if local else own))
        about = Model.load(str(folder))
        flavor = about.flavors.get("python_function", {})
        if flavor.get("loader_module") not in LOADERS:
            raise ConfigError(f"{uri} was not trained by triptych: load it with mlflow.pyfunc.load_model")
        served = load_model(folder / flavor["data"])
    white_level = (about.metadata or {}).get("white_level") or WHITE
    return LoadedVersion(served.network, served.classes, white_level, served.familiarity)


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn the errors of files that are gone into one that says so."""
    try:
        yield
    except (MlflowException, OSError) as error:
        raise ConfigError(
            f"the files of {uri} cannot be read ({describe_error(error)}): name another version, or train again with "
            "`triptych compare --fresh`"
        ) from error

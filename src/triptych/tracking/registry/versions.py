"""Versions of registered models, found by their names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking._model_registry.client import ModelRegistryClient

from triptych.errors import ConfigError, suggest
from triptych.tracking.client import connect

CHAMPION = "champion"
CARD_FILE = "MODEL_CARD.md"
# The most that MLflow returns for one search, and the versions that a message names.
MOST_MODELS, MOST_VERSIONS, NAMED_VERSIONS = 1000, 10_000, 10


def search_versions(name: str, query: str = "", *, most: int = MOST_VERSIONS) -> list[ModelVersion]:
    """Return the versions of a registered model that MLflow's filter selects, the newest first."""
    wanted = " and ".join(filter(None, (f"name = '{name}'", query)))
    return list(connect().search_model_versions(wanted, max_results=most, order_by=["version_number DESC"]))


def digest_files(folder: Path) -> str:
    """Return the SHA-256 of the files of a model, with their names, hexadecimal."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def model_uri(reference: str) -> str:
    """Return MLflow's URI of a registered model; a name alone means its champion.

    >>> model_uri("digits"), model_uri("digits@champion"), model_uri("digits/3")
    ('models:/digits@champion', 'models:/digits@champion', 'models:/digits/3')
    """
    reference = reference.removeprefix("models:/")
    return f"models:/{reference}" if "@" in reference or "/" in reference else f"models:/{reference}@{CHAMPION}"


def open_registry() -> ModelRegistryClient:
    """Return MLflow's client of the registry alone, to change tags, aliases and descriptions.

    Before each change `MlflowClient` reads every version of the model, to see that it is no prompt.
    """
    connect()
    return ModelRegistryClient(mlflow.get_registry_uri(), mlflow.get_tracking_uri())


def find_version(reference: str) -> ModelVersion:
    """Return the version that a reference names.

    Args:
        reference: NAME, NAME@ALIAS or NAME/VERSION.

    Raises:
        ConfigError: there is no such version.
    """
    name, separator, alias = model_uri(reference).removeprefix("models:/").partition("@")
    client = connect()
    number = ""
    try:
        if separator:
            return client.get_model_version_by_alias(name, alias)
        name, _, number = name.partition("/")
        # MLflow would take 01 for 1, but keeps the text.
        if number.isdecimal() and number.isascii():
            return client.get_model_version(name, str(int(number)))
    except MlflowException as error:
        raise ConfigError(explain_missing(name, f"alias {alias!r}" if separator else f"number {number!r}")) from error
    raise ConfigError(explain_missing(name, f"number {number!r}"))


def find_champion(name: str) -> ModelVersion | None:
    """Return the version that has the alias `champion`; None if there is none, or it was deleted."""
    try:
        return connect().get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return None


def explain_missing(name: str, wanted: str) -> str:
    """Return what there is instead of a version that was not found."""
    names = [model.name for model in connect().search_registered_models(max_results=MOST_MODELS)]
    if name not in names:
        rest = (
            f"registered are {', '.join(names)}{suggest(name, names)}"
            if names
            else "none is yet; run `triptych compare`"
        )
        return f"no registered model {name!r}: {rest}"
    found = [version.version for version in search_versions(name, most=NAMED_VERSIONS + 1)][::-1]
    if not found:
        return f"registered model {name!r} has no version with {wanted}: all were deleted; run `triptych compare`"
    more = "older ones and " if len(found) > NAMED_VERSIONS else ""
    versions = f"{'version' if len(found) == 1 else 'versions'} {', '.join(map(str, found[-NAMED_VERSIONS:]))}"
    return (
        f"registered model {name!r} has no version with {wanted}: it has {more}{versions}; "
        f"name one as {name}/{found[-1]}"
    )

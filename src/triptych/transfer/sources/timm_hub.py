"""timm's own pretrained weights, from the cache of the Hugging Face hub, or downloaded to it; never unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triptych.errors import WeightsError, describe_error
from triptych.networks.backbones import State, drawing_weights
from triptych.networks.families.timm_networks import PREFIX, TimmNetwork

FILE = "model.safetensors"
# How long the hub may take to answer.
SECONDS = 5.0


def is_timm(name: str) -> bool:
    """Return whether a network is one of timm's by its name."""
    return name.startswith(PREFIX)


def check_timm_weights(name: str) -> None:
    """Check that timm has weights of a network on its hub, by its own tables.

    Raises:
        WeightsError: timm has no such network, or no weights of it.
    """
    _find_repository(name)


def has_timm_weights(name: str) -> bool | None:
    """Return whether timm's weights of a network are in the cache of the hub; None if timm has none.

    Raises:
        WeightsError: timm has no such network.
    """
    if not TimmNetwork(name, {}).read_pretrained().get("hf_hub_id"):
        return None
    return _find_cached(*_find_repository(name)) is not None


def fetch_timm_weights(name: str) -> None:
    """Download timm's weights of a network to the cache of the hub, `HF_HOME`, if they are missing.

    Raises:
        WeightsError: timm has no such weights, or they cannot be downloaded.
    """
    repository, file = _find_repository(name)
    if _find_cached(repository, file):
        return
    import huggingface_hub

    try:
        # Unlike the download, this tries only once to reach the hub.
        huggingface_hub.get_hf_file_metadata(huggingface_hub.hf_hub_url(repository, file), timeout=SECONDS)
        huggingface_hub.hf_hub_download(repository, file)
    except Exception as error:  # the hub's errors come from several HTTP libraries
        raise WeightsError(
            f"weights 'imagenet' of {name} are not in the cache of the Hugging Face hub and could not be downloaded "
            f"({describe_error(error)[:160]}): save {repository}/{file} in a file and name it with transfer.weights, "
            "or choose random"
        ) from error


def load_timm_weights(name: str) -> State:
    """Return timm's weights of a network from the cache of the hub, as timm itself loads them.

    Raises:
        WeightsError: they are missing or damaged.
    """
    repository, file = _find_repository(name)
    cached = _find_cached(repository, file)
    if not cached:
        raise WeightsError(
            f"weights 'imagenet' of {name} are not in the cache of the Hugging Face hub: run `triptych compare` with "
            "them, which downloads them"
        )
    return load_as_timm(TimmNetwork(name, {}), cached)


def load_as_timm(network: TimmNetwork, file: Path) -> State:
    """Return the weights in a file as timm loads them: some of its files have names of earlier versions.

    Raises:
        WeightsError: the file is damaged, or of another network.
    """
    overlay: dict[str, Any] = {"file": str(file), "source": "", "hf_hub_id": None, "url": ""}
    try:
        with drawing_weights():
            loaded = network.build(pretrained=True, pretrained_cfg_overlay=overlay)
    except WeightsError:
        raise
    except Exception as error:  # of safetensors, or of PyTorch
        raise WeightsError(
            f"weights file {file} is damaged or not of {network.name} ({describe_error(error)[:160]}): replace the file"
        ) from error
    state: State = loaded.state_dict()
    return state


def _find_repository(name: str) -> tuple[str, str]:
    """Return the repository of the hub, and its file."""
    found = TimmNetwork(name, {}).read_pretrained()
    repository, file = found.get("hf_hub_id"), found.get("hf_hub_filename") or FILE
    if not repository or not file.endswith(".safetensors"):
        raise WeightsError(
            f"timm has no pretrained weights of {name} in safetensors: choose another tag, a file or random"
        )
    network = name.removeprefix(PREFIX)
    whole = f"{repository}{found.get('architecture', network)}" if repository.endswith("/") else repository
    if repository.endswith("/") and found.get("tag"):
        whole += f".{found['tag']}"
    return whole, file


def _find_cached(repository: str, file: str) -> Path | None:
    import huggingface_hub

    found = huggingface_hub.try_to_load_from_cache(repository, file)
    return Path(found) if isinstance(found, str) else None

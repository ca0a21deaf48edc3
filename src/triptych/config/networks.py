"""Networks of other packages: their names and folders are checked without importing the packages."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from triptych.config.fields import make_absolute
from triptych.config.names import COMBINED_MARK, CUT_MARK, HUGGING_FACE, IMAGENET, TIMM, list_parts
from triptych.errors import ConfigError

# How timm's source declares a network, and the tags of its weights.
TIMM_NETWORK = re.compile(r"^@register_model\s+def (\w+)", re.MULTILINE)
TIMM_TAG = re.compile(r"""['"](\w+)\.([\w.]+)['"]\s*:""")
NEAREST = 3
FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# A key of config.json, the package whose network it describes, and the extra that installs the package.
PACKAGES = {"architecture": ("timm", "timm"), "model_type": ("transformers", "hugging-face")}


def check_timm(network: str) -> None:
    """Check the name of a network of timm, such as timm:resnet18.a1_in1k.

    Raises:
        ConfigError: timm is not installed, or has no such network or weights.
    """
    _require(network, "timm", "timm")
    own = network.removeprefix(TIMM)
    name, dot, tag = own.partition(".")
    names, tags = _read_timm()
    # A few tags are put together in ways that the source does not show: those of any network are taken here.
    if name not in names or (dot and tag not in {one.partition(".")[2] for one in tags}):
        close = difflib.get_close_matches(own, [*names, *tags], n=NEAREST)
        nearest = f"; did you mean {' or '.join(TIMM + one for one in close)}?" if close else ""
        raise ConfigError(f"unknown panel {network!r}: timm has no network {own!r}{nearest}")


def list_timm() -> list[str]:
    """Return the names of timm's networks, such as timm:resnet18.

    Raises:
        ConfigError: timm is not installed.
    """
    _require(f"{TIMM}NAME", "timm", "timm")
    return [f"{TIMM}{name}" for name in sorted(_read_timm()[0])]


@cache
def _read_timm() -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of timm's networks, and those with the tags of their weights, from its source.

    Its own list would cost the import of PyTorch. Tests compare the two.
    """
    spec = find_spec("timm")
    folder = Path(str(spec.origin)).parent / "models" if spec else Path()
    texts = [file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.py"))]
    names = frozenset(name for text in texts for name in TIMM_NETWORK.findall(text))
    tags = frozenset(f"{name}.{tag}" for text in texts for name, tag in TIMM_TAG.findall(text) if name in names)
    return names, tags


def check_folder(network: str, folder: Path) -> None:
    """Check a Hugging Face folder: that it has a configuration, weights without pickle, and the package for them.

    Raises:
        ConfigError: it lacks one of them.
    """
    config = folder / "config.json"
    if not config.is_file():
        what = "it has no config.json" if folder.is_dir() else "there is no such folder"
        raise ConfigError(f"panel {network!r}: {what}; name a folder that save_pretrained or save_for_hf wrote")
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
        [(package, extra), *_] = [found for key, found in PACKAGES.items() if key in content]
    except (OSError, RecursionError, ValueError, TypeError) as error:
        raise ConfigError(
            f"panel {network!r}: {config} is no JSON with the architecture (of timm) or the model_type (of "
            "transformers); save the network anew"
        ) from error
    if not any(folder.glob("*.safetensors")):
        raise ConfigError(
            f"panel {network!r}: {folder} has no .safetensors, and other weights could run code; save it with "
            "safe_serialization=True"
        )
    _require(network, package, extra)


def name_folders(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a board in which its Hugging Face folders are panels with the folders as their weights.

    A panel `hf:DIR` becomes `hf:NAME`, the last part of the path, and `networks` gets `hf:NAME: {weights: DIR}`.

    Args:
        fields: the fields of a board, which are not checked yet.

    Raises:
        ConfigError: a folder lacks something, two have one name, or the board wants other weights for it.
    """
    panels = fields.get("panels")
    if not isinstance(panels, list | tuple) or not any(HUGGING_FACE in str(panel) for panel in panels):
        return dict(fields)
    given, transfer = fields.get("networks", {}), fields.get("transfer", {})
    shared = transfer.get("weights", IMAGENET) if isinstance(transfer, Mapping) else getattr(transfer, "weights", None)
    if shared is None or not isinstance(given, Mapping) or not all(isinstance(own, Mapping) for own in given.values()):
        return dict(fields)  # refused later
    networks = {name: dict(own) for name, own in given.items()}
    named = tuple(
        COMBINED_MARK.join(_name_folder(part, networks, str(shared)) for part in list_parts(panel))
        if isinstance(panel, str)
        else panel
        for panel in panels
    )
    return {**fields, "panels": named, "networks": networks}


def _name_folder(panel: str, networks: dict[str, dict[str, Any]], shared: str) -> str:
    """Return a panel by the name of its folder, which becomes its weights in `networks`; others as they are."""
    if not panel.startswith(HUGGING_FACE):
        return panel
    path, cut = _split(panel)
    folder = make_absolute(path)
    name = f"{HUGGING_FACE}{Path(folder).name}"
    if not FOLDER_NAME.fullmatch(name.removeprefix(HUGGING_FACE)):
        raise ConfigError(f"panel {panel!r} is a folder whose name has other than letters, digits, _ . -: rename it")
    own = str(networks.get(name, {}).get("weights", ""))
    # The record of a board has the name, and the folder as weights.
    if Path(own).is_absolute() and os.sep not in path:
        return name + cut
    known = own or shared
    check_folder(panel, Path(folder))
    if known not in {IMAGENET, folder}:
        raise ConfigError(
            f"panel {panel!r} has the weights of its folder, not {known!r}: leave transfer.weights out, set "
            "networks.NAME.weights of other networks, or rename one of two folders of the same name"
        )
    networks[name] = networks.get(name, {}) | {"weights": folder}
    return name + cut


def _split(panel: str) -> tuple[str, str]:
    """Return the path of a panel's folder, and its cut with the mark; a path may have the mark, too."""
    path = panel.removeprefix(HUGGING_FACE)
    if CUT_MARK not in path or Path(path).is_dir():
        return path, ""
    folder, mark, cut = path.rpartition(CUT_MARK)
    return folder, mark + cut


def _require(network: str, package: str, extra: str) -> None:
    try:
        found = find_spec(package)
    except (ImportError, ValueError):  # of what stands in its place
        found = None
    if found is None:
        raise ConfigError(f"panel {network!r} needs {package}: install it with `pip install 'triptych[{extra}]'`")

"""timm's networks, by their names or from a Hugging Face folder. timm is imported when one is used."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from triptych.errors import WeightsError, describe_error
from triptych.images.preprocessing import Preprocessing
from triptych.networks.cuts.nodes import FEATURES, Cut, Tap, find_result, tap_output
from triptych.networks.families.light_timm import import_timm
from triptych.networks.families.table import TIMM_KEY, Source, describe_missing
from triptych.networks.precision import normalise

PREFIX = "timm:"
# How timm resizes images, and whether the sides of the result are forced to be equal; it knows others.
CROP_MODES = {"center": False, "squash": True}
NEAREST = 3
# Arguments of `timm.create_model` with which a configuration could name other files, or download some.
LOADING = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_model_args", "checkpoint_path"}
LOADING |= {"cache_dir"}


@dataclass(frozen=True)
class TimmNetwork:
    """A network of timm; an `Architecture`.

    Attributes:
        name: name of the network, such as timm:resnet18.a1_in1k; another one if `config` describes the network.
        config: the `config.json` of a Hugging Face folder, or empty.
    """

    name: str
    config: Source
    packages: tuple[str, ...] = ("timm",)

    @property
    def own_name(self) -> str:
        """Timm's name of the network, perhaps with the tag of its weights."""
        return str(self.config.get(TIMM_KEY, self.name.removeprefix(PREFIX)))

    def build(self, classes: int | None = None, **arguments: Any) -> nn.Module:
        """Return the whole network; further arguments are those of `timm.create_model`."""
        timm = self.import_timm()
        given: dict[str, Any] = {"num_classes": classes}
        # With arguments, weights are loaded, too: an error may be theirs.
        with self._reading_config() if self.config and not arguments else nullcontext():
            own = self.read_pretrained()
            if self.config:
                named = {key: value for key, value in self.config.get("model_args", {}).items() if key not in LOADING}
                found = named.pop("num_classes", self.config.get("num_classes"))
                given = {**named, "num_classes": found if classes is None else classes, "pretrained_cfg": own}
            network: nn.Module = timm.create_model(self.own_name, **given, **arguments)
        return network

    def preprocess(self) -> Preprocessing:
        """Return the preprocessing that timm has for its weights.

        Raises:
            WeightsError: the network takes other images than square ones, or its configuration is damaged.
        """
        with self._reading_config() if self.config else nullcontext():
            found = self.import_timm().data.resolve_data_config({}, pretrained_cfg=self.read_pretrained())
            channels, height, width = found["input_size"]
            if (channels, height) != (3, width) or found["crop_mode"] not in CROP_MODES:
                raise WeightsError(
                    f"{self.name} takes images {height} x {width} with {channels} channels, made by "
                    f"{found['crop_mode']!r}: use a network for square images with three channels"
                )
            prepared = Preprocessing(
                resize_size=math.floor(height / found["crop_pct"]),
                crop_size=height,
                mean=tuple(found["mean"]),
                std=tuple(found["std"]),
                interpolation=found["interpolation"],
                squash=CROP_MODES[found["crop_mode"]],
            )
            if self.config:
                crop = torch.from_numpy(prepared.crop(np.zeros((8, 12, 3), dtype=np.uint8))[None].copy())
                if not normalise(crop, prepared.mean, prepared.std).isfinite().all():
                    raise ValueError(f"std = {found['std']}")
        return prepared

    @contextmanager
    def _reading_config(self) -> Iterator[None]:
        """Name the configuration of a folder in the error of whatever it is used for."""
        try:
            yield
        except WeightsError:
            raise
        except Exception as error:  # of timm, Pillow and PyTorch
            raise WeightsError(
                f"config.json of {self.name} is damaged or of another timm ({describe_error(error)[:160]}): save the "
                "folder anew, with save_for_hf"
            ) from error

    def find_last_layer(self, network: Any) -> tuple[str, int]:
        """Return the name of the layer that computes the class scores, the first of several, and their number."""
        layers = network.pretrained_cfg.get("classifier") or ""
        return layers if isinstance(layers, str) else layers[0], network.num_classes

    def cut_last(self, network: Any, layer: str) -> tuple[int, float]:  # noqa: ARG002 - that of `Architecture`
        """Remove the classifier: what is left computes `forward_head(forward_features(x), pre_logits=True)`."""
        network.reset_classifier(0)
        dimension: int = getattr(network, "head_hidden_size", None) or network.num_features
        return dimension, float(getattr(network, "drop_rate", 0.0))

    def find_tap(self, network: nn.Module, cut: Cut) -> Tap:
        """Return the node that a cut means; the feature map is the result of `forward_features`."""
        return Tap(find_result(network, "forward_features"), cut.pooling) if cut.node == FEATURES else Tap(*cut)

    def tap_last(self, network: Any) -> Tap:
        """Remove the classifier, and return what is left."""
        network.reset_classifier(0)
        return tap_output()

    def import_timm(self) -> Any:
        """Import and return timm.

        Raises:
            WeightsError: it is not installed.
        """
        try:
            return import_timm()
        except ImportError as error:
            raise describe_missing(self.name, "timm", "timm") from error

    def read_pretrained(self) -> dict[str, Any]:
        """Return what timm knows of the weights: where they are, and how images are prepared for them.

        Raises:
            WeightsError: timm has no such network, or no such weights of it.
        """
        timm, own = self.import_timm(), self.own_name
        try:
            found = timm.get_pretrained_cfg(own) if timm.is_model(own) else None
        except RuntimeError:  # of the tag
            found = None
        if not timm.is_model(own) or ("." in own and found is None):
            close = difflib.get_close_matches(own, [*timm.list_models(), *timm.list_models(pretrained=True)], n=NEAREST)
            nearest = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise WeightsError(f"timm has no network {own!r}: use a name that timm.list_models lists{nearest}")
        described = self.config.get("pretrained_cfg") or (found.to_dict() if found else {})
        return {"input_size": (3, 224, 224), **described}

"""Networks of transformers, described by the `config.json` of a Hugging Face folder. transformers is imported lazily.

An embedding is the network's own `pooler_output`, flattened. Where there is none, or the folder has no weights for it,
it is the class token if there is one, and else the average of the last tokens or map.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from triptych.errors import ConfigError, WeightsError
from triptych.images.preprocessing import Preprocessing
from triptych.networks.cuts.nodes import Cut, Tap, tap_output
from triptych.networks.families.table import Source, describe_missing
from triptych.networks.precision import normalise

POOLER, CLASS_TOKEN, AVERAGE = "pooler", "class token", "average"
# How parameters of class tokens are called.
CLASS_TOKENS = ("cls_token", "class_embedding")
IMAGES = "pixel_values"
# The side of the images that ConvNeXt's processor resizes before it cuts out their middle is below this.
LARGE_PIXELS = 384
# How far a pixel may be from that of the folder's own processor on average, in units of `std`: they round differently.
ROUNDING = 0.05
# Fields of a configuration that name code to run: modules of the folder, and kernels on the hub.
CODE, CODE_ENDING = "auto_map", "_implementation"


class Pooled(nn.Module):
    """A network of transformers that returns an embedding: (n, 3, height, width) -> (n, dimension).

    Attributes:
        model: the network.
        pooling: `POOLER`, `CLASS_TOKEN` or `AVERAGE`.
    """

    def __init__(self, model: nn.Module, pooling: str) -> None:
        """Wrap a network; a pooler without weights is removed."""
        super().__init__()
        self.model = model
        self.pooling = pooling
        if pooling != POOLER and isinstance(getattr(model, POOLER, None), nn.Module):
            model.pooler = None  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings, (n, dimension)."""
        outputs = self.model(**{IMAGES: images})
        if self.pooling == POOLER:
            pooled: Tensor = outputs.pooler_output
            return pooled.flatten(1)
        last: Tensor = outputs.last_hidden_state
        if last.dim() == 4:
            return last.mean((2, 3))
        return last[:, 0] if self.pooling == CLASS_TOKEN else last.mean(1)


@dataclass(frozen=True)
class TransformersNetwork:
    """A network of transformers; an `Architecture`.

    Attributes:
        name: name of the network, such as hf:my-folder.
        source: `config`, the content of `config.json`; `preprocessor`, that of `preprocessor_config.json`; and
            `pooling`, which is found by `find_pooling`.
    """

    name: str
    source: Source
    packages: tuple[str, ...] = ("transformers",)

    def build(self, classes: int | None = None) -> nn.Module:  # noqa: ARG002 - it has no classes
        """Return the network without a head."""
        return Pooled(self.build_model(), self.source["pooling"])

    def build_model(self) -> nn.Module:
        """Return the network of transformers itself.

        Raises:
            WeightsError: transformers is not installed, or has no such network for images.
        """
        transformers, kind = self.import_transformers(), self.source["config"].get("model_type", "")
        try:
            with without_network():
                model: nn.Module = transformers.AutoModel.from_config(self.describe(), trust_remote_code=False)
        except Exception as error:  # of transformers, of timm, of huggingface_hub's checks
            known = kind in transformers.CONFIG_MAPPING
            reason = (
                f"its config.json does not fit ({_first_line(error)})" if known else "transformers does not know it"
            )
            raise WeightsError(
                f"{self.name} is of model_type {kind!r}, but {reason}: name another folder, or install the "
                "transformers that saved it"
            ) from error
        if next(iter(inspect.signature(model.forward).parameters), "") != IMAGES:
            raise WeightsError(
                f"{self.name} is of model_type {kind!r}, which takes no images alone: name another folder"
            )
        return model

    def describe(self) -> Any:
        """Return the configuration of transformers, without what names code to run.

        Raises:
            KeyError, TypeError, ValueError: transformers has no such network, or the configuration does not fit it.
        """
        config = _remove_code(dict(self.source["config"]))
        return self.import_transformers().AutoConfig.for_model(config.pop("model_type", ""), **config)

    def preprocess(self) -> Preprocessing:
        """Return the preprocessing of the folder's own image processor, after comparing the two on an image.

        Raises:
            WeightsError: the processor prepares images in another way.
        """
        transformers = self.import_transformers()
        try:
            kind = self.source["preprocessor"]["image_processor_type"].removesuffix("Fast")
            processor = _find_processor(transformers, kind)(**self.source["preprocessor"])
            found = _translate(processor)
            noise = np.random.default_rng(0).integers(0, 256, size=(8, 12, 3), dtype=np.uint8)
            image = np.asarray(Image.fromarray(noise).resize((300, 200)))
            expected = processor(image.copy(), return_tensors="pt")[IMAGES]
            ours = normalise(torch.from_numpy(found.crop(image)[None].copy()), found.mean, found.std)
            alike = ours.shape == expected.shape and float((ours - expected).abs().mean()) < ROUNDING
        except Exception as error:  # of transformers, Pillow and PyTorch
            raise self._refuse_images(_first_line(error)) from error
        if not alike:
            raise self._refuse_images("its pixels are others")
        return found

    def find_last_layer(self, network: nn.Module) -> tuple[str, int]:  # noqa: ARG002 - that of `Architecture`
        """Return how the embedding is made; there is no layer of class scores."""
        return str(self.source["pooling"]), 0

    def cut_last(self, network: nn.Module, layer: str) -> tuple[int, float]:  # noqa: ARG002 - that of `Architecture`
        """Return the length of the embeddings; there is nothing to remove.

        Raises:
            WeightsError: the network gives no embedding of an image.
        """
        pixels, device = self.preprocess().crop_size, next(network.parameters()).device
        try:
            with torch.inference_mode():
                output = network(torch.zeros(2, 3, pixels, pixels, device=device))
            _, dimension = output.shape
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise WeightsError(
                f"{self.name} gives no embedding of an image ({_first_line(error)}): name another folder"
            ) from error
        return int(dimension), 0.0

    def find_tap(self, network: nn.Module, cut: Cut) -> Tap:  # noqa: ARG002 - that of `Architecture`
        """Refuse: networks of transformers are cut in front of their heads only."""
        raise ConfigError(
            f"transfer.cut = {cut.node!r}, but {self.name} is a network of transformers, which is cut in front of its "
            "head only: leave transfer.cut out"
        )

    def tap_last(self, network: nn.Module) -> Tap:  # noqa: ARG002 - that of `Architecture`
        """Return the embedding."""
        return tap_output()

    def find_pooling(self, model: nn.Module, keys: set[str]) -> str:
        """Return how an embedding is made.

        Args:
            model: from `build_model`.
            keys: the names of the weights of the folder.
        """
        names = [name for name, _ in model.named_parameters()]
        lacks_pooler = any(POOLER in name.split(".") for name in names) and not any(
            POOLER in key.split(".") for key in keys
        )
        if hasattr(model, POOLER) and not lacks_pooler:
            return POOLER
        return CLASS_TOKEN if any(name.endswith(CLASS_TOKENS) for name in names) else AVERAGE

    def import_transformers(self) -> Any:
        """Import and return transformers, without its progress bars and warnings.

        Raises:
            WeightsError: it is not installed.
        """
        # First of all, as it spares PyTorch's compiler.
        from triptych.networks import light_torchvision  # noqa: F401

        try:
            import transformers
        except ImportError as error:
            raise describe_missing(self.name, "transformers", "hugging-face") from error
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        return transformers

    def _refuse_images(self, reason: str) -> WeightsError:
        return WeightsError(
            f"the images of {self.name} cannot be prepared as its preprocessor_config.json says ({reason}): use an "
            "image processor that resizes to a square, or resizes and crops the centre"
        )


def _find_processor(transformers: Any, kind: str) -> Any:
    """Return the class of an image processor; others of transformers may run code, as `pipeline` does."""
    found = getattr(transformers, kind)
    if not isinstance(found, type) or not issubclass(found, transformers.BaseImageProcessor):
        raise TypeError(f"{kind} is no image processor")
    return found


def _translate(processor: Any) -> Preprocessing:
    """Return the preprocessing that an image processor describes."""
    size = {key: value for key, value in dict(processor.size).items() if value}
    squash = "height" in size
    resized = cropped = int(size["height"] if squash else size["shortest_edge"])
    share = getattr(processor, "crop_pct", None)
    if share and not squash:
        squash = resized >= LARGE_PIXELS
        resized = resized if squash else math.floor(resized / share)
    if getattr(processor, "do_center_crop", None):
        cropped = int(dict(processor.crop_size)["height"])
    scale = 255.0 * (processor.rescale_factor if processor.do_rescale else 1.0)
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ((0.0,) * 3, (1.0,) * 3)
    return Preprocessing(
        resize_size=resized,
        crop_size=cropped,
        mean=tuple(value / scale for value in mean),
        std=tuple(value / scale for value in std),
        interpolation=Image.Resampling(int(processor.resample)).name.lower(),
        squash=squash,
    )


@contextmanager
def without_network() -> Iterator[None]:
    """Keep transformers and timm from the hub, which a configuration may name, as one with the lock of the weights."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _remove_code(value: Any) -> Any:
    """Return a configuration without the fields that name code, in the configurations of its parts, too.

    >>> _remove_code({"auto_map": {}, "vision_config": {"attn_implementation": "somebody/kernel", "hidden_size": 8}})
    {'vision_config': {'hidden_size': 8}}
    """
    if not isinstance(value, dict):
        return value
    return {
        key: _remove_code(part)
        for key, part in value.items()
        if key != CODE and not str(key).startswith("_") and not str(key).endswith(CODE_ENDING)
    }


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"

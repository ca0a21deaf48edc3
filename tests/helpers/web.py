"""The application of `triptych serve` with a small model, on a port of this machine."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from fastapi import Request
from PIL import Image

from triptych.commands.serving.app import Served, build_app
from triptych.commands.serving.serve import build_server, listen, name_address
from triptych.images.depth import WHITE
from triptych.networks.numpy_mlp import NumpyMLP
from triptych.networks.saved import PixelNetwork
from triptych.panels.prediction import Caution

# A name that a page or a terminal might obey.
HOSTILE = "<b>light</b>\x1b[31m"


@dataclass
class FixedModel:
    """A version that stays."""

    current: Served
    problem: str = ""


def make_served(shape: tuple[int, int, int] = (2, 2, 1), threshold: float | None = None) -> Served:
    """Return a model whose two classes are decided by the sum of the pixels, from -1 to 1."""
    from triptych.tracking.registry.loading import LoadedVersion

    inputs = shape[0] * shape[1] * shape[2]
    network = PixelNetwork(NumpyMLP([(np.array([[-1.0] * inputs, [1.0] * inputs]), np.zeros(2))]), shape)
    loaded = LoadedVersion(network, ("dark", HOSTILE), WHITE)
    return Served("shades", "3", loaded, None if threshold is None else Caution(threshold))


def draw(level: int = 255, side: int = 2, kind: str = "PNG") -> bytes:
    """Return an image file of one shade of gray."""
    stream = io.BytesIO()
    Image.new("L", (side, side), level).save(stream, kind)
    return stream.getvalue()


def make_request(
    pieces: Sequence[bytes], kind: str = "", *, end: str = "http.request", declared: int | None = None
) -> Request:
    """Return a request whose body arrives in pieces, then its end, or nothing more if that is empty."""
    messages: list[Any] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages += [{"type": end, "body": b"", "more_body": False}] if end else []

    async def receive() -> Any:
        return messages.pop(0) if messages else await asyncio.sleep(9)

    given = {"content-type": kind, **({} if declared is None else {"content-length": str(declared)})}
    headers = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
    return Request({"type": "http", "method": "POST", "headers": headers, "app": None}, receive)


@contextmanager
def serving(model: FixedModel) -> Iterator[httpx.Client]:
    """Serve a model while the block runs."""
    with listen("127.0.0.1", 0) as listening:
        server = build_server(build_app(model))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            with httpx.Client(base_url=name_address(listening), trust_env=False, timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()

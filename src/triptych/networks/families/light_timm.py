"""timm, imported without PyTorch's compiler, which takes longer than timm itself.

A few of its functions are marked with `torch.compiler.disable`, which imports the compiler. They are not marked here,
unless it has been imported already.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch.compiler

# First of all, as it spares the compiler, too.
from triptych.networks import light_torchvision  # noqa: F401

COMPILER = "torch._dynamo"


def import_timm() -> ModuleType:
    """Import and return timm.

    Raises:
        ImportError: it is not installed.
    """
    disable = torch.compiler.disable
    if COMPILER not in sys.modules:
        torch.compiler.disable = _leave  # type: ignore[assignment]
    try:
        import timm
    finally:
        torch.compiler.disable = disable
    return timm  # type: ignore[no-any-return]


def _leave(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    """Return a function as it is, or a decorator that does."""
    return _leave if function is None else function

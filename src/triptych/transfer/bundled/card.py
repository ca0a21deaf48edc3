"""The card of the bundled backbone: its architecture, weights and preprocessing. Imports no PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def read_card() -> dict[str, Any]:
    """Return the card as JSON values.

    >>> read_card()["architecture"]
    'shufflenet_v2_x0_5'
    """
    card: dict[str, Any] = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))
    return card

"""The card of the bundled backbone: which network it is, its weights, its preprocessing. Imports no PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def read_card() -> dict[str, Any]:
    """Return the card, as JSON values."""
    card: dict[str, Any] = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))
    return card

"""Registered models: one for each panel of a board, and one for each board, which has the alias `champion`."""

from triptych.tracking.registry.champions import Verdict, approve, challenge, promote, register_panel, rollback
from triptych.tracking.registry.fetching import fetch_model, load_version
from triptych.tracking.registry.versions import find_champion, find_version, model_uri
from triptych.tracking.registry.weights import pin_weights

__all__ = [
    "Verdict",
    "approve",
    "challenge",
    "fetch_model",
    "find_champion",
    "find_version",
    "load_version",
    "model_uri",
    "pin_weights",
    "promote",
    "register_panel",
    "rollback",
]

"""Models that version 0.1 logged name this module as their loader."""

from triptych.networks.saved import _load_pyfunc

__all__ = ["_load_pyfunc"]

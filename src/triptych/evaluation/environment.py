"""The environment of all pages, in which names from outside are only text."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from triptych.errors import escape_controls


def build_environment() -> Environment:
    """Return the environment that the templates of this package are rendered in."""
    return Environment(
        loader=PackageLoader("triptych.evaluation"),
        autoescape=True,
        finalize=_spell_out,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def _spell_out(value: object) -> object:
    """Return what the page shows of a value: a text from outside without control characters, markup as it is."""
    return escape_controls(value) if type(value) is str else value

"""The base of all sections of a configuration: strictness, field types and error messages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from triptych.errors import suggest

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class Section(BaseModel):
    """A part of the configuration: immutable, without unknown fields, with finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


def make_absolute(path: str) -> str:
    """Return an absolute path, which means the same in every working directory."""
    return str(Path(path).expanduser().resolve())


def describe_first_error(model: type[Section], error: ValidationError) -> str:
    """Return the first validation error in one line: the field, its value and the rule."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        return _describe_unknown_field(model, path)
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    rule = first["msg"][0].lower() + first["msg"][1:]
    return f"{'.'.join(path)} = {first['input']!r} is not allowed: {rule}"


def _describe_unknown_field(model: type[Section], path: list[str]) -> str:
    owner: Any = model
    for part in path[:-1]:
        owner = owner.model_fields[part].annotation
    fields = list(owner.model_fields)
    return f"unknown field {'.'.join(path)!r}: the fields there are {', '.join(fields)}{suggest(path[-1], fields)}"

"""The base of all sections of a configuration: strictness, field types and error messages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from triptych.errors import suggest

# Numbers only: text such as 010 or 1:30 and true are no numbers. Whole numbers fit into 32 bits everywhere.
Integer = Annotated[int, Field(strict=True, lt=2**32)]
Number = Annotated[float, Field(strict=True)]
PositiveInt = Annotated[Integer, Field(ge=1)]
NonNegativeInt = Annotated[Integer, Field(ge=0)]
Fraction = Annotated[Number, Field(ge=0.0, lt=1.0)]


SHOWN_CHARACTERS = 80


class Section(BaseModel):
    """A part of the configuration: immutable, without unknown fields, with finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


def make_absolute(path: str) -> str:
    """Return an absolute path, which means the same in every working directory.

    Raises:
        ValueError: it is too long, or not a path for another reason.
    """
    try:
        absolute = Path(path).expanduser().resolve()
        absolute.exists()
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path[:SHOWN_CHARACTERS]!r} is not a path ({reason}): name a file or folder") from error
    return str(absolute)


def describe_first_error(model: type[Section], error: ValidationError) -> str:
    """Return the first validation error in one line: the field, its value and the rule."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        return _describe_unknown_field(model, path)
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    rule = first["msg"][0].lower() + first["msg"][1:]
    value = repr(first["input"])[:SHOWN_CHARACTERS]
    if first["type"] == "tuple_type":
        rule = f"it is a list, so write {'.'.join(path)}=[{first['input']}]"
    return f"{'.'.join(path)} = {value} is not allowed: {rule}"


def _describe_unknown_field(model: type[Section], path: list[str]) -> str:
    owner: Any = model
    for part in path[:-1]:
        owner = owner.model_fields[part].annotation
    fields = list(owner.model_fields)
    name = path[-1]
    sections = [field for field in fields if name in getattr(owner.model_fields[field].annotation, "model_fields", ())]
    if sections:
        return (
            f"unknown field {'.'.join(path)!r}: name its section, as {' or '.join(f'{one}.{name}' for one in sections)}"
        )
    return f"unknown field {'.'.join(path)!r}: the fields there are {', '.join(fields)}{suggest(name, fields)}"

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from triptych.config.fields import PositiveInt, Section, describe_first_error, make_absolute


class Inner(Section):
    epochs: PositiveInt = 1
    """How often the data are seen."""


class Outer(Section):
    inner: Inner = Inner()
    """A section."""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"epochs": 0}}, "inner.epochs = 0 is not allowed: input should be greater than or equal to 1"),
        ({"inner": {"epoch": 3}}, "unknown field 'inner.epoch': the fields there are epochs; did you mean 'epochs'?"),
        ({"other": 1}, "unknown field 'other': the fields there are inner"),
    ],
)
def test_the_first_error_is_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(values)
    assert describe_first_error(Outer, caught.value) == message


def test_a_section_is_immutable_and_describes_its_fields() -> None:
    section = Inner()
    with pytest.raises(ValidationError):
        section.epochs = 3  # type: ignore[misc]
    assert Inner.model_fields["epochs"].description == "How often the data are seen."


def test_a_path_means_the_same_in_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert make_absolute("photos") == str(tmp_path / "photos")
    assert make_absolute("~") == str(Path.home())

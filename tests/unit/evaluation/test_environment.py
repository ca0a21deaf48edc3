from __future__ import annotations

from triptych.evaluation.environment import build_environment


def test_names_from_outside_are_only_text() -> None:
    template = build_environment().from_string("{{ name }}")
    assert template.render(name="<b>\x1b[1m") == "&lt;b&gt;\\x1b[1m"

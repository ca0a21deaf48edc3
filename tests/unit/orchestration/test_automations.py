from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from triptych.orchestration.automations import read_automations

ROOT = Path(__file__).parents[3]


def test_the_projects_automations_restart_runs_that_crashed_or_fell_silent() -> None:
    automations = read_automations(str(ROOT / "automations.yaml"))
    assert len({automation.name for automation in automations}) == len(automations) == 2
    for automation in automations:
        assert automation.name.startswith("triptych: ")
        assert automation.enabled
        assert automation.actions


def test_a_file_that_describes_no_automation_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "automations.yaml"
    file.write_text("automations:\n  - name: without a trigger\n", encoding="utf-8")
    with pytest.raises(ValidationError, match="trigger"):
        read_automations(str(file))

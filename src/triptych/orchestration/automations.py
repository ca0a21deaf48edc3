"""A step of `prefect deploy`: automations, which Prefect's command line can create but not bring up to date by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore


def read_automations(file: str) -> list[AutomationCore]:
    """Return the automations that a file describes."""
    described = yaml.safe_load(Path(file).read_text(encoding="utf-8"))["automations"]
    return [AutomationCore.model_validate(one) for one in described]


async def provide_automations(file: str) -> dict[str, str]:
    """Create the automations of a file, or bring those of the same names up to date; one that is off stays so.

    What is the same is left alone: with every change an automation forgets what it has seen so far.

    Args:
        file: as `prefect automation create --from-file` takes it.

    Returns:
        Their ids by name.
    """
    ids = {}
    async with get_client() as client:
        for automation in read_automations(file):
            found = await client.read_automations_by_name(automation.name)
            if not found:
                ids[automation.name] = str(await client.create_automation(automation))
                continue
            ids[automation.name] = str(found[0].id)
            automation = automation.model_copy(update={"enabled": found[0].enabled})
            if _describe(found[0]) != _describe(automation):
                await client.update_automation(found[0].id, automation)
    return ids


def _describe(automation: AutomationCore) -> dict[str, Any]:
    return automation.model_dump(include=set(AutomationCore.model_fields))

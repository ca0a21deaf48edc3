"""A step of `prefect deploy` for automations, which Prefect's command line can create but not update by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore


def read_automations(file: str) -> list[AutomationCore]:
    """Return the automations of a file."""
    described = yaml.safe_load(Path(file).read_text(encoding="utf-8"))["automations"]
    return [AutomationCore.model_validate(one) for one in described]


async def provide_automations(file: str) -> dict[str, str]:
    """Create the automations of a file, or update those of the same name; disabled ones stay disabled.

    Unchanged automations are not updated, because an update makes Prefect forget the events that they have seen.

    Args:
        file: a YAML file in the format of `prefect automation create --from-file`.

    Returns:
        The ids of the automations by name.
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

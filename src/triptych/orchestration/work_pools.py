"""A step of `prefect deploy` for work pools, whose template says what the start of a run may set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound


def read_template(file: str) -> dict[str, Any]:
    """Return the template of jobs in a file."""
    template: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
    return template


async def provide_work_pool(name: str, file: str) -> None:
    """Give a work pool a template of jobs; create it if there is none of this name. Nothing else of it is changed.

    Args:
        name: of the work pool, whose workers start processes.
        file: the template, as `prefect work-pool create --base-job-template` takes it.
    """
    template = read_template(file)
    async with get_client() as client:
        try:
            await client.read_work_pool(name)
        except ObjectNotFound:
            await client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
        else:
            await client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))

"""What `prefect deploy` makes of this project's files, on a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import PrefectHTTPStatusError
from prefect.testing.cli import CycloptsCliRunner

from triptych.orchestration import provide_automations

ROOT = Path(__file__).parents[2]
NAMES = ["compare/digits", "compare/photos", "compare/report", "tune/tune", "panel/gpu", "panel/cpu"]


async def read_automations() -> dict[str, Any]:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        # The client's own objects leave out when an automation was changed.
        found = (await client._client.post("/automations/filter", json={})).json()
        return {automation["name"]: automation for automation in found}


@pytest.fixture(scope="module")
def deployments(prefect_server: None, photos: Path) -> Iterator[dict[str, Any]]:
    """All deployments by name, as the server has them."""
    from prefect.client.orchestration import get_client

    del prefect_server
    with get_client(sync_client=True) as client:
        for pool in ("local-process", "gpu", "cpu"):
            client.create_work_pool(WorkPoolCreate(name=pool, type="process", concurrency_limit=3), overwrite=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("TRIPTYCH_PHOTOS", str(photos))
        for file in ("prefect.yaml", "machines.yaml"):
            done = CycloptsCliRunner().invoke(["--no-prompt", "deploy", "--all", "--prefect-file", file])
            assert done.exit_code == 0, done.output
    with get_client(sync_client=True) as client:
        yield {name: client.read_deployment_by_name(name) for name in NAMES}


def test_every_deployment_of_the_nights_runs_alone_and_on_time(deployments: dict[str, Any], photos: Path) -> None:
    nights = [deployments[name] for name in NAMES[:4]]
    assert nights[0].parameters == {"config": {"preset": "digits"}}
    assert nights[1].parameters == {"config": {"preset": "photos", "data": str(photos)}}
    for deployment in nights:
        assert deployment.global_concurrency_limit.limit == 1
        assert deployment.concurrency_options.collision_strategy == "CANCEL_NEW"
        assert "triptych" in deployment.tags
        assert all(schedule.schedule.timezone for schedule in deployment.schedules)
    assert [len(deployment.schedules) for deployment in nights] == [1, 1, 0, 1]


def test_no_schedule_is_in_the_hour_that_clocks_skip_or_repeat() -> None:
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        for schedule in deployment.get("schedules", []):
            assert int(schedule["cron"].split()[1]) >= 3


def test_machines_have_a_deployment_for_each_pool(deployments: dict[str, Any]) -> None:
    for pool in ("gpu", "cpu"):
        deployment = deployments[f"panel/{pool}"]
        assert deployment.work_pool_name == pool
        assert "triptych" in deployment.tags


@pytest.mark.parametrize("name", NAMES)
def test_the_start_of_a_run_may_not_say_what_is_executed(name: str, deployments: dict[str, Any]) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        pool = client.read_work_pool(deployments[name].work_pool_name)
        assert pool.concurrency_limit == 3
        assert pool.base_job_template == json.loads((ROOT / "work-pool.json").read_text())
        if name.startswith("panel/"):
            return  # it needs an order, which the server checks first
        for variable in ({"command": "touch intruder"}, {"env": {"PYTHONSTARTUP": "x"}}, {"working_dir": "/"}):
            with pytest.raises(PrefectHTTPStatusError, match="Additional properties are not allowed"):
                client.create_flow_run_from_deployment(deployments[name].id, job_variables=variable)


@pytest.mark.parametrize("name", NAMES)
def test_the_form_describes_every_field(name: str, deployments: dict[str, Any]) -> None:
    assert deployments[name].enforce_parameter_schema
    form = deployments[name].parameter_openapi_schema
    sections = [section["properties"] for section in form["definitions"].values() if "properties" in section]
    assert len(sections) > 5
    assert all(field.get("description") for section in sections for field in section.values())


@pytest.mark.usefixtures("deployments")
def test_automations_are_brought_up_to_date_and_otherwise_left_alone(tmp_path: Path) -> None:
    described = yaml.safe_load((ROOT / "automations.yaml").read_text())
    before = asyncio.run(read_automations())
    assert set(before) == {automation["name"] for automation in described["automations"]}
    assert asyncio.run(provide_automations(str(ROOT / "automations.yaml"))) == {
        name: automation["id"] for name, automation in before.items()
    }
    assert asyncio.run(read_automations()) == before
    described["automations"][0]["trigger"]["within"] = 1500
    changed = tmp_path / "automations.yaml"
    changed.write_text(yaml.safe_dump(described))
    asyncio.run(provide_automations(str(changed)))
    after = asyncio.run(read_automations())
    assert [after[automation["name"]]["trigger"]["within"] for automation in described["automations"]] == [1500, 60]


def test_silence_is_told_from_an_end_that_the_server_keeps_back() -> None:
    from prefect.server.events.ordering import PRECEDING_EVENT_LOOKBACK

    silent = yaml.safe_load((ROOT / "automations.yaml").read_text())["automations"][0]
    assert silent["trigger"]["within"] > PRECEDING_EVENT_LOOKBACK.total_seconds()

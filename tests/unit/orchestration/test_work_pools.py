from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prefect.workers.process import ProcessJobConfiguration

from triptych.orchestration.work_pools import read_template

ROOT = Path(__file__).parents[3]


def test_no_variable_of_a_run_reaches_its_job() -> None:
    """A server checks variables against the template; this is what a worker makes of those it finds all the same."""
    wanted = {"command": "touch intruder", "env": {"A": "b"}, "env.C": "d", "working_dir": "/", "name": "x"}
    nothing: Any = object()  # a client, which resolves references
    template = read_template(str(ROOT / "work-pool.json"))
    configure: Any = ProcessJobConfiguration.from_template_and_values
    job = asyncio.run(configure(template, wanted, client=nothing))
    assert (job.command, job.env, job.working_dir, job.name) == (None, {}, None, None)

from __future__ import annotations

import pytest

from triptych.errors import RestartLimitError
from triptych.orchestration import enforce_restart_limit, hooks


def test_a_flow_run_that_crashes_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for starts in range(1, hooks.MAX_STARTS + 1):
        monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", str(starts))
        enforce_restart_limit()
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", str(hooks.MAX_STARTS + 1))
    with pytest.raises(RestartLimitError, match="crashed 5 times: find the reason"):
        enforce_restart_limit()

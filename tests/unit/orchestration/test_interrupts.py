from __future__ import annotations

import pytest

from triptych.errors import RunInterruptedError
from triptych.orchestration.interrupts import Interrupts


def test_only_the_threads_of_an_interrupted_flow_run_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(futures: object) -> None:
        del futures
        raise KeyboardInterrupt

    interrupts = Interrupts()
    interrupts.wait([])
    interrupts.check("one", "after 1 of 3")
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", "one")
    monkeypatch.setattr("triptych.orchestration.interrupts.wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        interrupts.wait([])
    interrupts.check("another", "after 2 of 3")
    with pytest.raises(RunInterruptedError, match="interrupted after 2 of 3"):
        interrupts.check("one", "after 2 of 3")

from __future__ import annotations

import pytest

from triptych.config.resolve import resolve_config
from triptych.errors import ConfigError
from triptych.orchestration.approvals import require_approver


def test_without_a_server_there_is_nobody_to_ask() -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    boards = resolve_config("digits", settings=["promote.approval=true"]).boards
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(ConfigError, match=r"promote\.approval=true waits for an answer on Prefect's page, but"),
    ):
        require_approver(boards)

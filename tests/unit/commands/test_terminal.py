from __future__ import annotations

from pathlib import Path

import pytest

from triptych.commands.terminal import explain_page
from triptych.system.addresses import local_uri
from triptych.system.paths import project_root


def test_the_page_is_started_by_make_only_where_there_is_a_makefile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local_uri())
    assert (project_root() / "Makefile").is_file()
    assert explain_page() == "start the server with `make ui`"
    monkeypatch.setattr("triptych.commands.terminal.project_root", lambda: tmp_path)
    assert explain_page() == f"start the server with `mlflow server --backend-store-uri {local_uri()}`"


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("http://127.0.0.1:5000", "in MLflow"),
        ("postgresql://ann:secret@db/runs", "`mlflow server --backend-store-uri postgresql://ann:***@db/runs`"),
    ],
)
def test_a_password_is_not_printed(uri: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert text in explain_page()

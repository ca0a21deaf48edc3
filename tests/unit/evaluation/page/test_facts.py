from __future__ import annotations

from triptych.data.boards import BoardData
from triptych.evaluation.page.facts import describe_facts


def test_every_fact_is_there_once_and_in_words(digits: BoardData) -> None:
    tags = {"version.numpy": "2.4", "version.torch": "2.15", "git_commit": "abc", "platform": "Linux", "cores": "2"}
    facts = describe_facts(digits.prepared, tags)
    assert facts["versions"] == "numpy 2.4, torch 2.15"
    assert facts["machine"] == "Linux, 2 cores"
    assert facts["images"] == "1,005 for training, 252 for validation, 540 for the test"
    assert facts["data"].startswith("digits, 10 classes, SHA-256 ")
    # What a comparison without Prefect lacks is left out.
    assert "flow run" not in facts

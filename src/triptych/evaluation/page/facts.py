"""Where a result comes from, in words."""

from __future__ import annotations

from collections.abc import Mapping

from triptych.data.boards import PreparedBoard

VERSION = "version."


def describe_facts(prepared: PreparedBoard, provenance: Mapping[str, str]) -> dict[str, str]:
    """Return the data, the split, the code and the machine of a comparison, each once.

    Args:
        prepared: the board.
        provenance: the tags of its runs.
    """
    sizes = {part: f"{size:,}" for part, size in prepared.sizes.items()}
    versions = [
        f"{name.removeprefix(VERSION)} {value}" for name, value in provenance.items() if name.startswith(VERSION)
    ]
    facts = {
        "data": f"{prepared.data_name}, {len(prepared.classes):,} classes, SHA-256 {prepared.data_digest}",
        "images": "{train} for training, {validation} for validation, {test} for the test".format(**sizes),
        "split": f"{prepared.split_id}, with test set {prepared.test_set_id}",
        "versions": ", ".join(versions),
        "code": provenance.get("git_commit", ""),
        "machine": ", ".join(
            part for part in (provenance.get("platform", ""), f"{provenance.get('cores', '?')} cores") if part
        ),
        "flow run": " ".join(
            provenance[key] for key in ("prefect.flow_run_name", "prefect.flow_run_url") if key in provenance
        ),
    }
    return {name: value for name, value in facts.items() if value}

from __future__ import annotations

from pathlib import Path

import pytest

from triptych.errors import DamagedFileError
from triptych.networks.checksums import check_checksums, write_checksums
from triptych.networks.trunks import TRUNK_FILE, complete_trunk, open_trunk, refer_to_trunk


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A saved panel, its frozen network beside its head."""
    folder = tmp_path / "saved"
    folder.mkdir()
    for name in (TRUNK_FILE, "head.safetensors"):
        (folder / name).write_text(name)
    write_checksums(folder)
    return folder


def test_a_network_beside_its_head_is_taken_from_there(saved: Path) -> None:
    complete_trunk(saved)
    check_checksums(saved)
    with open_trunk(saved) as file:
        assert file == saved / TRUNK_FILE


def test_a_network_that_is_in_no_store_is_one_line_with_a_remedy(saved: Path, own_store: str) -> None:
    del own_store
    refer_to_trunk(saved, f"models:/m-{'0' * 32}", "backbone-0", "7")
    check_checksums(saved)
    assert {file.name for file in saved.iterdir()} == {"backbone.json", "head.safetensors", "SHA256SUMS"}
    with pytest.raises(DamagedFileError, match=r"m-0+ .*its frozen network cannot be read.*set MLFLOW_TRACKING_URI"):
        complete_trunk(saved)
    (saved / "backbone.json").write_text("{")
    with pytest.raises(DamagedFileError, match=r"backbone\.json"), open_trunk(saved):
        pass

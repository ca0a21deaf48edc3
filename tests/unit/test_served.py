from __future__ import annotations

from triptych import served
from triptych.networks import saved


def test_models_of_version_0_1_0_find_their_loader() -> None:
    assert served._load_pyfunc is saved._load_pyfunc

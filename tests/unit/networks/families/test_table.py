from __future__ import annotations

import pytest

from triptych.networks.families.table import find_architecture, find_versions


@pytest.mark.parametrize(
    ("name", "source", "packages"),
    [
        ("resnet18", {}, ()),
        ("timm:resnet18", {}, ("timm",)),
        ("hf:net", {"config": {"architecture": "resnet18"}}, ("timm",)),
        ("hf:net", {"config": {"model_type": "vit"}}, ("transformers",)),
    ],
)
def test_a_name_leads_to_its_family(name: str, source: dict[str, object], packages: tuple[str, ...]) -> None:
    assert find_architecture(name, source).packages == packages
    assert find_versions(packages).keys() == set(packages)

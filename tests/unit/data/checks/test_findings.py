from __future__ import annotations

import re
from pathlib import Path

from triptych.data.checks.findings import KINDS, Examination, Example, Finding, ImageName

PAGE = Path(__file__).parents[4] / "docs" / "photos.md"


def test_the_documentation_lists_every_kind_of_finding_with_its_severity() -> None:
    rows = re.findall(r"^\| (`.*`) \| (error|warning|note) \| .+ \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = [(kind.strip("`"), severity) for kinds, severity in rows for kind in kinds.split(", ")]
    assert sorted(listed) == sorted(KINDS.items())


def test_json_counts_all_and_lists_a_hundred() -> None:
    names = [ImageName(f"a/{number}.jpg", "a", "train") for number in range(300)]
    pairs = tuple(Example((names[row], names[row + 1])) for row in range(0, 300, 2))
    findings = (
        Finding("same", "150 images more than once", pairs),
        Finding("similar", "1 group", (Example(tuple(names)),)),
        Finding("few_images", "2 classes", (Example((), "a: 3 in train"), Example((), "b: 4 in train"))),
        Finding("small_images", "250 of 300 images", instances=250),
        Finding("resolution", "what the test set can show"),
    )
    content = Examination("photos", 300, {"a": {"": 300}}, findings).as_json()
    assert list(content) == ["can_train", "data", "images", "classes", "findings"]
    same, similar, few, small, resolution = content["findings"]
    assert list(same) == ["kind", "severity", "count", "message", "files", "examples"]
    assert [finding["count"] for finding in content["findings"]] == [150, 1, 2, 250, 1]
    assert same["files"] == similar["files"] == [name.name for name in names[:100]]
    assert (len(same["examples"]), same["examples"][0]["count"]) == (100, 2)
    assert same["examples"][0]["images"][1] == {"name": "a/1.jpg", "label": "a", "part": "train"}
    assert [(example["count"], len(example["images"])) for example in similar["examples"]] == [(300, 100)]
    assert few["examples"][1] == {"count": 0, "images": [], "detail": "b: 4 in train"}
    assert few["files"] == small["files"] == resolution["examples"] == []
    assert content["can_train"] is True

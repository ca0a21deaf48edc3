from __future__ import annotations

import io

from rich.console import Console

from triptych.commands.examination import describe_example, print_examination
from triptych.data.checks.findings import Examination, Example, Finding, ImageName

IMAGES = [ImageName(f"a/{number}.jpg", "a", "train") for number in range(12)]


def examine(kind: str) -> Examination:
    examples = tuple(Example((image,), "the file is empty") for image in IMAGES)
    finding = Finding(kind, "12 files cannot be read", examples)
    return Examination("photos", 40, {"a": {"train": 20}, "b": {"train": 20}}, (finding,))


def print_lines(examination: Examination, *, everything: bool) -> str:
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as captured:
        print_examination(console, examination, everything=everything)
    return captured.get()


def test_the_first_ten_examples_are_printed_or_all() -> None:
    few = print_lines(examine("unreadable"), everything=False)
    assert few.count("the file is empty") == 10
    assert "and 2 more (--all)" in few
    assert "40 images in 2 classes" in few
    assert "training would refuse the data" in few
    everything = print_lines(examine("grey"), everything=True)
    assert everything.count("the file is empty") == 12
    assert "nothing prevents training" in everything


def test_five_images_of_a_group_are_printed_or_all() -> None:
    finding = Finding("similar", "1 group of images that look alike", (Example(tuple(IMAGES)),))
    examination = Examination("photos", 40, {"a": {"train": 20}, "b": {"train": 20}}, (finding,))
    few = print_lines(examination, everything=False)
    assert few.count(".jpg") == 5
    assert "a/4.jpg (a, train) and 7 more (--all)" in " ".join(few.split())
    assert print_lines(examination, everything=True).count(".jpg") == 12


def test_images_that_are_alike_are_joined_by_a_sign() -> None:
    assert describe_example(Example((IMAGES[0], IMAGES[1])), "~") == "a/0.jpg (a, train) ~ a/1.jpg (a, train)"
    assert describe_example(Example((IMAGES[0],), "it is empty")) == "a/0.jpg: it is empty"

"""The README and the other pages: every command and every Python block runs as written, in its own environment."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.pages import PAGES, README, Reader, is_run, make_reader, parse, read_text, save_weights

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(900)]

# The page for teams is run by test_servers.py, which has their servers.
OTHERS = [
    page
    for page in PAGES
    if page not in {README, "docs/servers.md"} and any(is_run(page, step) for step in parse(page, read_text(page)))
]


def prepare_photos(reader: Reader) -> None:
    """Provide the weights of two more networks, and a file of weights of the reader's own."""
    save_weights(reader.home, "vgg16", "resnet50")
    [own] = (reader.home / ".cache").rglob("mobilenet_v2-*.pth")
    shutil.copy(own, reader.checkout / "my-weights.pth")


# What a page presupposes beside what the README leaves.
STAND_INS: dict[str, Callable[[Reader], None]] = {"docs/photos.md": prepare_photos}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A reader with the weights of a network."""
    reader = make_reader(tmp_path_factory.mktemp("reader"))
    save_weights(reader.home, "mobilenet_v2")
    yield reader
    reader.end_processes()


@pytest.fixture(scope="module")
def printed(reader: Reader) -> dict[str, str]:
    """What the commands of the README print."""
    return reader.read(README, read_text(README))


@pytest.fixture(scope="module")
def after_readme(reader: Reader, printed: dict[str, str]) -> Path:
    """A copy of what the README leaves: readers of other pages have done what it says."""
    del printed
    copy = reader.folder / "after-readme"
    for name in ("checkout", "home"):
        shutil.copytree(reader.folder / name, copy / name, symlinks=True)
    return copy


@pytest.fixture
def fresh_reader(reader: Reader, after_readme: Path) -> Reader:
    """The reader as the README leaves it, whatever another page has done: at the same place, which MLflow notes."""
    for name in ("checkout", "home"):
        shutil.rmtree(reader.folder / name)
        shutil.copytree(after_readme / name, reader.folder / name, symlinks=True)
    return reader


def words(text: str) -> set[str]:
    """Return the words of a text, with every figure as `#`."""
    return {re.sub(r"\d+(\.\d+)?(e[-+]\d+)?", "#", word) for word in text.split()}


def test_the_readme_runs_and_make_compare_prints_what_it_says(reader: Reader, printed: dict[str, str]) -> None:
    command = next(command for command in printed if command.startswith("make compare"))
    begins = "digits, accuracy on"
    # The page shows the store of another home.
    here = printed[command].replace(str(reader.checkout), "/home/ann/triptych")
    found = begins + here.partition(begins)[2]
    block = re.search(rf"```text\n({begins}.*?)```", read_text(README), re.DOTALL)
    assert block
    table, link = block[1].strip().rsplit("\n", 1)
    assert words(table) == words(found.strip().rsplit("\n", 1)[0])
    assert link.removesuffix("...") in found


@pytest.mark.long
@pytest.mark.parametrize("page", OTHERS)
def test_a_page_runs_as_written(page: str, fresh_reader: Reader) -> None:
    if page in STAND_INS:
        STAND_INS[page](fresh_reader)
    fresh_reader.read(page, read_text(page))

"""The documentation: its links, lists and figures, and how `make endurance` runs what it says."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from helpers.pages import NOT_RUN, PAGES, README, ROOT, Reader, parse, read_text
from triptych import __version__
from triptych.config.presets import PRESETS
from triptych.panels.kinds import KINDS


def test_what_is_not_run_is_still_on_its_page() -> None:
    for page, command in NOT_RUN:
        assert any(step.text.startswith(command) for step in parse(page, read_text(page))), (
            f"{page} has no command {command!r}"
        )


def test_a_block_that_cannot_be_run_is_noticed() -> None:
    with pytest.raises(AssertionError, match=r"page\.md:3: a command begins with"):
        parse("page.md", "```console\n$ true\ntrue\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:2: blocks of bash are not run"):
        parse("page.md", "```bash\ntrue\n```\n")


@pytest.mark.parametrize("command", ["false", 'test -n "$PREFECT_HOME"', "cd checkout && true", "nothing-of-this-name"])
def test_a_command_that_fails_fails_its_page(command: str, tmp_path: Path) -> None:
    reader = Reader(tmp_path, {"4200": "1"})
    reader.checkout.mkdir()
    page = f"```console\n$ cd .. && cd checkout\n$ {command}\n$ touch done\n```\n"
    with pytest.raises(AssertionError, match=r"page\.md:3 failed"):
        reader.read("page.md", page)
    assert not (reader.checkout / "done").exists()


# Before there is an environment to activate, pip has a path.
BY_PATH = re.compile(r"\.venv/bin/(?!activate|pip )")
BY_NAME = re.compile(r"([A-Z_]+=\S+ )*(triptych|prefect|dask|mlflow|python) ")


@pytest.mark.parametrize("page", PAGES)
def test_programs_are_called_by_name_once_the_page_has_activated_the_environment(page: str) -> None:
    active = False
    for step in parse(page, read_text(page)):
        active |= step.text == "source .venv/bin/activate"
        if step.kind == "console":
            assert not BY_PATH.search(step.text), f"{page}:{step.line}"
            assert active or not BY_NAME.match(step.text), f"{page}:{step.line}: no environment"


def find_anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    for address in re.findall(r"\]\(([^)]+)\)", read_text(page)):
        if "://" not in address:
            name, _, anchor = address.partition("#")
            file = (ROOT / page).parent / name if name else ROOT / page
            assert file.exists(), address
            assert not anchor or anchor in find_anchors(file), address


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "src/triptych/transfer/bundled/CARD.md"])
def test_percentages_are_written_with_a_space_but_not_where_they_are_typed(page: str) -> None:
    assert not re.findall(r".*(?<!--error-at-most )\b\d+%(?!%).*", read_text(page))


def test_pages_for_readers_in_a_hurry_are_short() -> None:
    assert len(read_text(README).splitlines()) < 200
    assert len(read_text("CONTRIBUTING.md").splitlines()) < 60


def read_layers() -> list[set[str]]:
    """Return the floors that import-linter checks, from the top."""
    settings = tomllib.loads(read_text("pyproject.toml"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["type"] == "layers")["layers"]
    return [{name.strip().removeprefix("triptych.") for name in layer.split("|")} for layer in layers]


def test_the_picture_of_the_floors_is_the_contract() -> None:
    text = read_text("docs/architecture.md")
    picture = text.partition("```text\n")[2].partition("```")[0]
    drawn = [set(re.split(r" {2,}", line.strip())[0].split(" | ")) for line in picture.splitlines()]
    assert drawn == [layer for layer in read_layers() if layer.isdisjoint({"__main__", "served"})]


def test_the_readme_lists_every_package_above_what_imports_it() -> None:
    section = read_text(README).partition("## How it is built")[2]
    listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert set(listed) == {file.parent.name for file in (ROOT / "src" / "triptych").glob("*/__init__.py")}
    height = {name: number for number, layer in enumerate(reversed(read_layers())) for name in layer}
    assert [height[name] for name in listed] == sorted(height[name] for name in listed)


def test_the_steps_of_a_comparison_name_modules() -> None:
    steps = read_text("docs/architecture.md").partition("## One comparison")[2].partition("\nA panel that fails")[0]
    modules = re.findall(r"`(\w+)\.(\w+)`(?=[^|]*\|$)", steps, re.MULTILINE)
    assert len(modules) > 20
    for package, module in modules:
        home = ROOT if package in {"flows", "tasks"} else ROOT / "src" / "triptych"
        place = home / package / module
        assert place.with_suffix(".py").is_file() or (place / "__init__.py").is_file(), f"{package}.{module}"


def test_the_pages_name_every_preset_and_only_known_kinds() -> None:
    presets = read_text("docs/presets.md")
    assert set(re.findall(r"^\| `(\w+)` \|", presets, re.MULTILINE)) == set(PRESETS)
    glossary = read_text("docs/architecture.md").partition("| **kind** |")[2]
    assert set(re.findall(r"`([a-z_]+)`", glossary.partition("\n")[0])) <= set(KINDS)


def test_pre_commit_checks_what_make_lint_checks() -> None:
    config = yaml.safe_load(read_text(".pre-commit-config.yaml"))
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", read_text("Makefile"), re.MULTILINE)
    assert recipe
    commands = [command.replace("$(BIN)", ".venv/bin") for command in recipe[1].split("\n\t")]
    assert [hook["entry"] for hook in hooks] == [command.strip() for command in commands]
    assert {hook["language"] for hook in hooks} == {"system"}


def test_the_changelog_begins_with_this_version() -> None:
    headings = re.findall(r"^## (\S+)", read_text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == __version__


def test_the_page_of_performance_has_the_measured_figures() -> None:
    text = read_text("docs/performance.md").replace(",", "")
    numbers = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)}
    for result in json.loads(read_text("bench/results.json")):
        value = result["value"]
        quoted = {round(value, digits) for digits in (0, 1, 2)} | {float(f"{value:.3g}")}
        assert quoted & numbers, f"{result['figure']}: {value}"

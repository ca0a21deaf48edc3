"""The command `backbones`: which pretrained networks are there, how large, how fast here, with which weights?"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.commands.inspect import read_span
from triptych.commands.options import DebugOption
from triptych.commands.terminal import EXIT_INTERRUPTED, errors, print_table, print_words
from triptych.config.names import BACKBONE_NAMES, TIMM
from triptych.config.networks import list_timm
from triptych.errors import ConfigError, WeightsError, suggest
from triptych.system.environment import apply_environment
from triptych.system.own_memory import garbage_collection_paused
from triptych.system.progress import show_progress, tracking
from triptych.system.threads import is_busy

if TYPE_CHECKING:
    from triptych.transfer.overview.networks import Network
    from triptych.transfer.overview.speeds import Speed

EXAMPLES = """
List the pretrained networks: parameters, length of an embedding, images per second on this machine, and weights.

The speed is that of the network alone, on all cores, with random weights, which take as long as others.

It is measured only if you ask for it, and remembered: the next call shows it at once.

Examples:

    triptych backbones

    triptych backbones --fits-in 2s

    triptych backbones --fits-in 1m --images 5000

    triptych backbones resnet --measure

    triptych backbones 'mobilenet*' --json | python -m json.tool

    triptych backbones 'timm:mobilenetv3*'
"""
MILLION = 1e6
FORGET = "`triptych cache prune --kind number-formats --older-than 0` forgets them"


def backbones(
    pattern: Annotated[
        str | None, typer.Argument(metavar="PATTERN", help="A part of the names, or a shell pattern such as 'vit_*'.")
    ] = None,
    fits_in: Annotated[
        str | None,
        typer.Option(
            metavar="SPAN",
            help="List only networks that embed --images in this time, such as 2s or 1m; measure those that may.",
        ),
    ] = None,
    images: Annotated[int, typer.Option(help="Number of images for --fits-in.")] = 100,
    measure: Annotated[bool, typer.Option("--measure", help="Measure each listed network that has no speed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    debug: DebugOption = False,
) -> None:
    """Measure what is asked for, and print the networks."""
    seconds = None if fits_in is None else read_span(fits_in, "--fits-in").total_seconds()
    if images < 1:
        raise ConfigError(f"--images {images} is not allowed: it must be at least 1")
    names = select_names(pattern)
    apply_environment(quiet=not debug)
    with garbage_collection_paused():
        from triptych.transfer.overview.networks import describe_network

        networks = _describe_all(names, describe_network)
    interrupted = (measure or seconds is not None) and _measure(networks, images, None if measure else seconds)
    rows = _list_rows(networks, images, seconds)
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        _print(rows, images, fits_in)
    if interrupted:
        errors.print("triptych: interrupted; what was measured is kept, run the same command again to continue")
        raise typer.Exit(EXIT_INTERRUPTED)


def _describe_all(names: Sequence[str], describe: Callable[[str], Network]) -> list[Network]:
    """Return the networks, and name those that are made for other images or cannot be built without values."""
    found, left_out = [], []
    with show_progress(errors), tracking("build networks without weights") as move:
        for number, name in enumerate(names):
            move(number, len(names), name)
            try:
                found.append(describe(name))
            except (WeightsError, RuntimeError, TypeError, NotImplementedError):
                left_out.append(name)
        move(len(names), len(names))
    if left_out:
        errors.print(f"triptych: left out, because their size cannot be counted: {', '.join(left_out)}")
    return found


def list_names(pattern: str = "") -> Sequence[str]:
    """Return the names of torchvision's networks, or of timm's, where a pattern begins with `timm:`.

    Raises:
        ConfigError: timm is not installed.
    """
    return list_timm() if pattern.startswith(TIMM) else BACKBONE_NAMES


def select_names(pattern: str | None) -> list[str]:
    """Return the networks that a shell pattern matches, or whose names have a text in them.

    Raises:
        ConfigError: there is none.

    >>> select_names("vgg1*_bn"), select_names("wide")
    (['vgg11_bn', 'vgg13_bn', 'vgg16_bn', 'vgg19_bn'], ['wide_resnet50_2', 'wide_resnet101_2'])
    """
    if pattern is None:
        return list(list_names())
    family, _, own = pattern.rpartition(":")
    names, prefix = list_names(pattern), f"{family}:" if family else ""
    whole = own if any(mark in own for mark in "*?[") else f"*{own}*"
    if found := [name for name in names if fnmatch.fnmatchcase(name, f"{prefix}{whole}".lower())]:
        return found
    raise ConfigError(
        f"no pretrained network matches {pattern!r}: give a part of a name, or a pattern such as 'resnet*'"
        f"{suggest(pattern.strip('*?').lower(), names)}"
    )


def _measure(networks: Sequence[Network], images: int, seconds: float | None) -> bool:
    """Measure the networks that may fit, the lightest first; return whether that was interrupted."""
    from triptych.transfer.overview.speeds import measure_speed, select_unmeasured

    try:
        with show_progress(errors), tracking("measure networks") as move:
            wanted = select_unmeasured(networks, images, seconds)
            if wanted and is_busy():
                errors.print(f"triptych: other programs are busy here, so that speeds will be too low: {FORGET}")
            for number, network in enumerate(wanted):
                move(number, len(wanted), network.name)
                measure_speed(network)
            move(len(wanted), len(wanted))
    except KeyboardInterrupt:
        return True
    return False


def _list_rows(networks: Sequence[Network], images: int, seconds: float | None) -> list[dict[str, Any]]:
    """Return what is known of each network, the fastest first; then those that were not measured, the lightest first.

    Args:
        networks: the networks.
        images: number of images.
        seconds: only those that embed them in this time; None lists all.
    """
    from triptych.transfer.overview.speeds import recall_speed

    known = [(network, recall_speed(network, images)) for network in networks]
    known.sort(key=lambda pair: (-pair[1].images_per_second if pair[1] else 0.0, pair[0].operations))
    rows = [_describe(network, speed, images) for network, speed in known]
    return [row for row in rows if seconds is None or (row["seconds"] is not None and row["seconds"] <= seconds)]


def _describe(network: Network, speed: Speed | None, images: int) -> dict[str, Any]:
    from triptych.transfer.overview.speeds import estimate_seconds

    return {
        "network": network.name,
        "parameters": network.parameters,
        "dimension": network.outline.dimension,
        "operations": network.operations,
        "images_per_second": speed and round(speed.images_per_second, 2),
        "number_format": speed and speed.number_format,
        "images": images,
        "seconds": speed and round(estimate_seconds(speed, images, network.outline.device), 3),
        "weights": [
            {"name": one.name, "at_hand": one.at_hand, "megabytes": round(one.megabytes, 1)} for one in network.weights
        ],
    }


def _print(rows: Sequence[dict[str, Any]], images: int, fits_in: str | None) -> None:
    fitting = f" that embed{'s' * (len(rows) == 1)} {images:,} images in {fits_in}" if fits_in else ""
    if rows:
        print_table(
            f"{len(rows)} pretrained network{'s' * (len(rows) != 1)}{fitting}",
            [_format(row, timed=bool(fits_in)) for row in rows],
        )
    else:
        errors.print(f"no network is known to embed {images:,} images in {fits_in}: give more time, or fewer images")
    if any(row["images_per_second"] is None for row in rows):
        print_words("images/s is - where nothing was measured: add --measure, or --fits-in 2s for fast networks.")
    print_words(
        "images/s: the network alone, without reading images. Weights that are not here are downloaded on first use; "
        "`random` needs none."
    )


def _format(row: dict[str, Any], *, timed: bool) -> dict[str, str]:
    """Return a row of the table."""
    rate = row["images_per_second"]
    here = [one["name"] for one in row["weights"] if one["at_hand"]]
    elsewhere = [f"{one['name']} ({one['megabytes']:,.0f} MB)" for one in row["weights"] if not one["at_hand"]]
    return {
        "network": row["network"],
        "parameters": f"{row['parameters'] / MILLION:,.1f} M",
        "dimension": f"{row['dimension']:,}",
        "images/s": "-" if rate is None else f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}",
        **({"seconds": f"{row['seconds']:.2f}"} if timed else {}),
        "weights here": ", ".join(here) or "-",
        "to download": ", ".join(elsewhere) or "-",
    }

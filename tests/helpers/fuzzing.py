"""Folders, image files, tables and IDX sets as nobody would lay them out on purpose, drawn by Hypothesis."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from helpers.idx import encode_idx

# Names that mean something to a system, a tool, a shell, a spreadsheet, a page or to Unicode.
WORDS = (
    "ants bees cats dogs train val test Train TRAINING training_set seg_train test1 dev eval images day1 day2 "
    ".git .ipynb_checkpoints @eaDir #recycle __MACOSX lost+found Thumbs.db 10:30 a=b =1+1 <b>x</b> [bold]x "
    "$(id) `id` %s {x} ~ -rf CON nul"
)
SIGNS = ("caf\u00e9", "cafe\u0301", "\u202eabc", "\u200b", "\U0001f41c", "a\tb", "a\nb", "\x1b[31m", "\udce9", "a b")
NAMES = st.sampled_from([*WORDS.split(), *SIGNS])
ENDING_WORDS = (
    ".jpg .JPG .jpeg .jfif .png .gif .bmp .ppm .pgm .pbm .tif .tiff .webp .avif .jp2 .mpo .heic .svg .eps .txt .csv "
    ".zip .npz .jsonl"
)
ENDINGS = st.sampled_from([*ENDING_WORDS.split(), ""])
# A format of Pillow, and the modes that it writes.
FORMATS = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "GIF": ("P", "L"),
    "BMP": ("1", "L", "P", "RGB"),
    "PPM": ("1", "L", "RGB", "I;16"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
    "WEBP": ("RGB", "RGBA"),
    "JPEG2000": ("L", "LA", "RGB", "RGBA"),
}
SIDES = st.sampled_from([1, 2, 3, 7, 8, 31, 32, 33, 64, 300, 30_000])


@st.composite
def pictures(draw: st.DrawFn) -> bytes:
    """Draw the content of an image file of any format and mode, small or thin, sometimes with EXIF data."""
    kind = draw(st.sampled_from(sorted(FORMATS)))
    mode = draw(st.sampled_from(FORMATS[kind]))
    width = draw(SIDES)
    height = draw(SIDES.filter(lambda side: side * width <= 100_000))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    if mode == "I;16":
        image = Image.fromarray(
            rng.integers(0, draw(st.sampled_from([1, 256, 4096, 65536])), (height, width)).astype("u2")
        )
    image = image if mode == "I;16" else image.convert(mode)
    exif = Image.Exif()
    if draw(st.booleans()):
        exif[0x0112] = draw(st.integers(0, 9))
    stream = io.BytesIO()
    with suppress(OSError, ValueError, KeyError):
        image.save(stream, kind, exif=exif.tobytes() if kind in {"JPEG", "PNG", "WEBP", "TIFF"} else b"")
    return stream.getvalue()


@st.composite
def damaged(draw: st.DrawFn, contents: st.SearchStrategy[bytes]) -> bytes:
    """Draw a content and damage it: cut, changed at the beginning or anywhere, repeated, or with bytes put in."""
    content = bytearray(draw(contents))
    for _ in range(draw(st.integers(0, 3))):
        where = draw(st.integers(0, max(0, min(len(content), draw(st.sampled_from([16, 64, 1 << 20]))) - 1)))
        match draw(st.sampled_from(["cut", "change", "insert", "repeat"])):
            case "cut":
                del content[where:]
            case "change":
                content[where : where + 4] = draw(st.binary(min_size=1, max_size=4))
            case "insert":
                content[where:where] = draw(st.sampled_from([b"\0" * 8, b"\xff" * 8, b"%!PS", b"II*\0", b"\n", b","]))
            case "repeat":
                content[where:where] = content[: 1 << 12]
    return bytes(content)


def encode_png(number: int) -> bytes:
    """Return a sound picture, another one for each number."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number // 256, 0)).save(stream, "PNG")
    return stream.getvalue()


SOUND = st.integers(0, 60_000).map(encode_png)
FILES = st.one_of(pictures(), damaged(pictures()), st.binary(max_size=64), st.just(b""))


def write(file: Path, content: bytes) -> None:
    """Write a file and the folders above it, unless a name is taken or is none."""
    with suppress(OSError, ValueError):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


@st.composite
def folders(draw: st.DrawFn) -> Callable[[Path], str]:
    """Draw a folder of up to three levels, with links that may be dead, or lead up."""
    names = draw(st.lists(st.lists(NAMES, min_size=0, max_size=3), min_size=1, max_size=8))
    content = draw(st.sampled_from([SOUND, FILES]))
    files = [("/".join([*path, draw(NAMES) + draw(ENDINGS)]), draw(content)) for path in names for _ in range(5)]
    links = draw(
        st.lists(st.tuples(st.sampled_from(names), NAMES, st.sampled_from(["..", ".", "nowhere", "ants"])), max_size=2)
    )

    def make(folder: Path) -> str:
        for name, content in files:
            write(folder / name, content)
        for path, name, target in links:
            with suppress(OSError):
                (folder.joinpath(*path) / f"link-{name}").symlink_to(target)
        return str(folder)

    return make


@st.composite
def photos(draw: st.DrawFn) -> Callable[[Path], str]:
    """Draw a folder of two sound classes with one odd file among them."""
    odd, ending = draw(FILES), draw(ENDINGS)

    def make(folder: Path) -> str:
        for number in range(20):
            file = folder / "ab"[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number, 0, 0)).save(file)
        write(folder / "a" / f"odd{ending}", odd)
        return str(folder)

    return make


@st.composite
def tables(draw: st.DrawFn) -> Callable[[Path], str]:
    """Draw a table of sound images that is damaged, or has cells of any text."""
    separator = draw(st.sampled_from([",", ";", "\t"]))
    header = separator.join(
        draw(st.permutations(["path", "label", "split", "weight", "group"]))[: draw(st.integers(1, 5))]
    )
    cells = st.one_of(
        NAMES, st.text(max_size=8), st.sampled_from(["0.png", "1.png", "train", "test", "1", "-1", "nan", ""])
    )
    rows = [separator.join(draw(cells) for _ in range(draw(st.integers(1, 5)))) for _ in range(draw(st.integers(0, 6)))]
    sound = "path,label\n" + "".join(f"{number}.png,{'ab'[number % 2]}\n" for number in range(20))
    text = draw(st.sampled_from([sound, "\n".join([header, *rows]) + "\n"])).encode(errors="surrogateescape")
    content, ending = draw(damaged(st.just(text))), draw(st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]))

    def make(folder: Path) -> str:
        for number in range(20):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
        write(folder / f"table{ending}", content)
        return f"table:{folder / f'table{ending}'}"

    return make


@st.composite
def idx_sets(draw: st.DrawFn) -> Callable[[Path], str]:
    """Draw a set of four IDX files, one of which may be damaged, gzipped or not."""
    side = draw(st.sampled_from([0, 1, 8]))
    labels = draw(st.lists(st.integers(0, 4), min_size=0, max_size=40))
    arrays = {
        f"{prefix}-{kind}-ubyte": encode_idx(array)
        for prefix in ("train", "t10k")
        for kind, array in (
            ("images-idx3", np.zeros((len(labels), side, side), dtype=np.uint8)),
            ("labels-idx1", np.array(labels, dtype=np.uint8)),
        )
    }
    zipped = draw(st.booleans())
    files = {
        f"{name}{'.gz' * zipped}": gzip.compress(content) if zipped else content for name, content in arrays.items()
    }
    name = draw(st.sampled_from(sorted(files)))
    files[name] = draw(damaged(st.just(files[name])))

    def make(folder: Path) -> str:
        for name, content in files.items():
            write(folder / name, content)
        return f"idx:{folder}"

    return make


INPUTS = {"folders": folders(), "photos": photos(), "tables": tables(), "idx": idx_sets()}

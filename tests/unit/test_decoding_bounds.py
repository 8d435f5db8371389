"""Decoding in bounded memory and time, whatever the bytes are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from copperplate.errors import ProviderFailed, StillGenerating
from copperplate.failure_classes import FailureClass
from copperplate.imaging import pillow_images, verification
from copperplate.imaging.header import MAX_BODY_BYTES, MAX_CHUNKS, MAX_SCANS, read_header
from copperplate.imaging.pillow_images import PillowImages
from copperplate.model import PictureFormat, Rendition, Size
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import Iterator

SIDE = Size(width=64, height=64)
LARGEST = 4096
BOMB_SECONDS = 5.0
# What the interpreter, Pillow and the pictures as they came take besides.
OVERHEAD_BYTES = 64 * 1024 * 1024


def drawn(side: int = 64, mode: str = "RGB") -> Image.Image:
    return Image.effect_noise((128, 128), 80).resize((side, side)).convert(mode)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    target = BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_with(*chunks: bytes) -> bytes:
    whole = encoded(drawn(), "PNG")
    return whole[:33] + b"".join(chunks) + whole[33:]


def jpeg_of_scans(count: int, side: int) -> bytes:
    """The last scan of a progressive jpeg over and over, saying next to nothing each time."""
    whole = encoded(drawn(side, "L"), "JPEG", progressive=True)
    head = whole[whole.rindex(b"\xff\xda") :]
    scan = head[: 2 + int.from_bytes(head[2:4], "big")] + bytes(4)
    return whole[:-2] + scan * count + b"\xff\xd9"


def webp_of_chunks(count: int) -> bytes:
    simple = encoded(drawn(), "WEBP")[12:]
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\x3f\0\0\x3f\0\0" + simple + b"JUNK\0\0\0\0" * count
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


# The picture of a leader killed by these: all are refused, or taken, in little time.
BOMBS = {
    "jpg of a million scans": lambda: jpeg_of_scans(1_000_000, 512),
    "jpg of a few scans too many": lambda: jpeg_of_scans(MAX_SCANS, LARGEST),
    "jpg of as many scans as are taken": lambda: jpeg_of_scans(MAX_SCANS - 20, LARGEST),
    "jpg of eight million empty segments": lambda: b"\xff\xd8" + b"\xff\xe0\0\x02" * 8_000_000,
    "jpg of a million segments without length": lambda: b"\xff\xd8" + b"\xff\xe0\0\0" * 1_000_000,
    "jpg of filling": lambda: b"\xff\xd8" + b"\xff" * 30_000_000,
    "png of two million empty chunks": lambda: png_with(chunk(b"abCd", b"") * 2_000_000),
    "png of two million empty pixels": lambda: png_with(chunk(b"IDAT", b"") * 2_000_000),
    "png with an unfolding comment": lambda: png_with(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000), 1))),
    "png with many unfolding comments": lambda: png_with(
        *(chunk(b"zTXt", b"a%d\0\0" % number + zlib.compress(bytes(1_000_000), 1)) for number in range(500))
    ),
    "png with a wide comment": lambda: png_with(
        *(
            chunk(b"iTXt", b"a%d\0\1\0\0\0" % number + zlib.compress(("\U0001f98a" + "a" * 900_000).encode(), 1))
            for number in range(60)
        )
    ),
    "png with an unfolding profile": lambda: png_with(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200_000_000), 1))),
    "png with pixels that never end": lambda: (
        encoded(drawn(), "PNG")[:33] + chunk(b"IDAT", zlib.compress(bytes(900_000_000), 1)) + chunk(b"IEND", b"")
    ),
    "webp of 34 bytes that says 16384x16384": lambda: (
        b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f" + bytes(8)
    ),
    "webp of three million chunks": lambda: webp_of_chunks(3_000_000),
    "webp with a profile of 30 MB": lambda: encoded(drawn(), "WEBP", icc_profile=bytes(30_000_000)),
}


@pytest.fixture
def images() -> Iterator[PillowImages]:
    made = PillowImages(threads=1)
    yield made
    made.close()


@pytest.mark.parametrize("name", BOMBS)
async def test_bomb_ends_in_time_and_frees_its_place(images: PillowImages, name: str) -> None:
    body = BOMBS[name]()
    assert len(body) <= MAX_BODY_BYTES
    began = time.monotonic()
    with contextlib.suppress(ProviderFailed):
        await images.verify(body, covers=SIDE)
    # The only place there is: the next picture has to wait for it.
    await images.verify(encoded(drawn(), "PNG"), covers=SIDE)
    assert time.monotonic() - began < wall(BOMB_SECONDS)


@pytest.mark.parametrize("name", BOMBS)
def test_reading_the_header_of_a_bomb_does_not_hold_up_the_event_loop(name: str) -> None:
    body = BOMBS[name]()
    began = time.monotonic()
    with contextlib.suppress(ProviderFailed):
        read_header(body)
    assert time.monotonic() - began < wall(0.5)


def test_jpg_png_and_webp_of_too_many_parts_are_refused_before_decoding() -> None:
    for body in (jpeg_of_scans(MAX_SCANS, 64), png_with(chunk(b"abCd", b"") * MAX_CHUNKS)):
        with pytest.raises(ProviderFailed, match="has more than"):
            read_header(body)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"progressive": True}, {"exif": b"Exif\0\0" + bytes(99)}])
def test_header_says_what_pillow_finds(form: str, options: dict[str, Any]) -> None:
    for size in ((1, 1), (63, 640), (2048, 3)):
        header = read_header(encoded(drawn(4).resize(size), form, **options))
        assert (header.name, header.size) == (form, Size(width=size[0], height=size[1]))


async def test_picture_that_takes_too_long_is_given_up_and_keeps_its_place_until_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    goes_on, verify = threading.Event(), verification.verify

    def slow(*given: Any) -> Any:
        goes_on.wait(30)
        return verify(*given)

    monkeypatch.setattr(verification, "verify", slow)
    images = PillowImages(threads=1, seconds=0.05, room_seconds=0.2)
    body = encoded(drawn(), "PNG")
    with pytest.raises(ProviderFailed, match=r"not decoded within 0\.05 s") as failed:
        await images.verify(body, covers=SIDE)
    assert failed.value.failure_class is FailureClass.BAD_OUTPUT
    with pytest.raises(StillGenerating):
        await images.verify(body, covers=SIDE)
    goes_on.set()
    monkeypatch.setattr(verification, "verify", verify)
    images._seconds = images._urgent.room_seconds = 10
    assert (await images.verify(body, covers=SIDE)).format == "png"
    images.close()


async def test_caller_that_goes_away_frees_its_place_when_its_picture_is_done(images: PillowImages) -> None:
    working = asyncio.create_task(images.verify(encoded(drawn(2048), "PNG"), covers=SIDE))
    await asyncio.sleep(0.01)
    working.cancel()
    await asyncio.wait((working,))
    assert (await images.verify(encoded(drawn(), "PNG"), covers=SIDE)).format == "png"


async def test_turn_is_announced_before_decoding_and_a_refusal_ends_it(images: PillowImages) -> None:
    async def refuse() -> None:
        raise StillGenerating

    for _ in range(2):
        with pytest.raises(StillGenerating):
            await images.verify(b"\xff\xd8\xff\xc0\0\x11\x08\0\x40\0\x40 not decoded", covers=SIDE, begin=refuse)
    assert (await images.verify(encoded(drawn(), "PNG"), covers=SIDE)).format == "png"


# --- in a process of its own ----------------------------------------------------------------------

CHILD = """
import asyncio, json, resource, sys
sys.path.insert(0, {root!r})
from tests.unit import test_decoding_bounds as bounds
print(json.dumps(asyncio.run(bounds.{work}({arguments}))))
"""


def in_child(work: str, *arguments: object) -> Any:
    """What a coroutine of this module answers in a process of its own."""
    root = str(Path(__file__).parents[2])
    script = CHILD.format(root=root, work=work, arguments=", ".join(map(repr, arguments)))
    environ = {**os.environ, "MALLOC_ARENA_MAX": "1"}  # threads reserve nothing beforehand
    answer = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False, timeout=300
    )
    assert answer.returncode == 0, answer.stderr[-2_000:]
    return json.loads(answer.stdout)


def peak_bytes() -> int:
    """Most memory this process ever had at once. Not `ru_maxrss`, which a child inherits from who started it."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


async def encode(images: PillowImages, body: bytes) -> bytes:
    rendition = Rendition(format=PictureFormat.PNG, quality=None)
    async with images.open(body, model="m") as opened:
        return await opened.encode(rendition, canvas=Size(width=512, height=512))


async def peak_of(folder: str) -> tuple[int, int]:
    """Verify and encode all pictures of a folder at once; answers the peak before and after."""
    images = PillowImages(threads=8, seconds=120, room_seconds=280)
    bodies = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    await images.verify(encoded(drawn(), "PNG"), covers=SIDE)
    before = peak_bytes()
    work = [
        done
        for body in bodies
        for done in (
            images.verify(body, covers=SIDE),
            images.verify(body, covers=SIDE),
            encode(images, body),
        )
    ]
    await asyncio.gather(*work)
    return before, peak_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_of_the_largest_pictures_at_once_stay_within_the_bound(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    largest, grey = drawn(LARGEST), drawn(LARGEST, "L")
    glass = largest.copy()
    glass.putalpha(grey)
    glass.save(tmp_path / "glass.webp", lossless=True, quality=0, method=0, icc_profile=profile)
    Image.merge("LA", (grey, grey)).save(tmp_path / "grey.png", compress_level=1, icc_profile=profile)
    largest.convert("CMYK").save(tmp_path / "cmyk.jpg", progressive=True)
    before, peak = in_child("peak_of", str(tmp_path))
    bodies = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert peak - before <= pillow_images.MEMORY_BYTES + bodies + OVERHEAD_BYTES


async def starve(path: str, limit_bytes: int) -> list[str]:
    """Verify a small picture, the one at `path`, and a small one again, with so much address space and no more."""
    import resource

    small, large = encoded(drawn(), "PNG"), Path(path).read_bytes()
    images = PillowImages(threads=1)
    await images.verify(small, covers=SIDE)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + limit_bytes, used + limit_bytes))
    told = []
    for body in (small, large, small):
        try:
            told.append((await images.verify(body, covers=SIDE)).format)
        except ProviderFailed as failed:
            told.append(f"{failed.failure_class} {failed}")
    return told


@pytest.mark.skipif(sys.platform != "linux", reason="limits its address space")
def test_memory_that_is_refused_while_decoding_fails_the_picture_and_not_the_process(tmp_path: Path) -> None:
    drawn(LARGEST).save(tmp_path / "large.png", compress_level=1)
    first, refused, after = in_child("starve", str(tmp_path / "large.png"), 40 * 1024 * 1024)
    assert (first, after) == ("png", "png")
    assert refused.startswith("bad_output the png cannot be decoded: MemoryError")

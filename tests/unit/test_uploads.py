"""The gate for uploads: what is taken, what is refused and as whose fault, and what goes on of a file."""

from __future__ import annotations

import collections
import random
import re
import sys
import threading
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageChops

from copperplate.errors import CopperplateError, InvalidRequest, StillGenerating
from copperplate.imaging import uploads
from copperplate.imaging.icc import P3_PRIMARIES, SRGB_CURVE, WHITE_D65, matrix_profile
from copperplate.imaging.pillow_images import PillowImages
from copperplate.imaging.uploads import UPLOAD_MEMORY_BYTES, read_upload
from copperplate.model import PictureFormat, Size
from copperplate.source_errors import InvalidPicture, PictureTooLarge, UnsupportedPicture
from tests.support.children import answer_of
from tests.support.hostile_uploads import CLASSES, SEED, hostile_uploads
from tests.support.largest_uploads import LARGEST, SIDE
from tests.support.odd_pictures import encoded, odd_jpegs, odd_pngs, odd_webps, scene
from tests.support.upload_parts import FORMATS, TOKEN, gif_film, heif, tagged, whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.hostile_uploads import HostileUpload


@pytest.fixture(scope="module")
def images() -> Iterator[PillowImages]:
    made = PillowImages(threads=2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def hostile() -> dict[str, list[HostileUpload]]:
    return hostile_uploads(SEED)


async def outcome(images: PillowImages, upload: HostileUpload) -> str:
    """Nothing where it is as expected; what is wrong otherwise."""
    expected = upload.outcome.__name__ if upload.outcome else "taken"
    try:
        clean = await images.clean(upload.body)
    except CopperplateError as error:
        found = type(error).__name__ if error.args and str(error) else "refused without a word"
        return "" if found == expected else f"{upload.name}: {found} ({error}), not {expected}"
    if upload.outcome is not None:
        return f"{upload.name}: taken, not {expected}"
    return "" if holds_pixels_alone(clean.body) else f"{upload.name}: holds more than pixels"


def holds_pixels_alone(body: bytes) -> bool:
    """Whether a clean file has no part but those that its pixels need, and nothing behind its end."""
    if TOKEN in body or b"Exif" in body or b"xmpmeta" in body:
        return False
    with Image.open(BytesIO(body)) as image:
        image.load()
    return png_names(body) <= PIXELS_OF_PNG if body.startswith(b"\x89PNG") else jpeg_markers(body) <= PIXELS_OF_JPEG


PIXELS_OF_PNG = {b"IHDR", b"IDAT", b"IEND"}
# The JFIF header, tables, a frame of all at once, a scan and the end.
PIXELS_OF_JPEG = {0xE0, 0xDB, 0xC4, 0xC0, 0xDA, 0xD9}


def png_names(body: bytes) -> set[bytes]:
    names, place = set(), 8
    while place < len(body):
        names.add(body[place + 4 : place + 8])
        place += 12 + int.from_bytes(body[place : place + 4], "big")
    return names


def jpeg_markers(body: bytes) -> set[int]:
    markers, place = set(), 2
    while body[place + 1] != 0xDA:
        markers.add(body[place + 1])
        place += 2 + int.from_bytes(body[place + 2 : place + 4], "big")
    pixels = body[place + 2 :]
    return markers | {0xDA, *(pixels[at + 1] for at in range(len(pixels) - 1) if pixels[at] == 0xFF and pixels[at + 1])}


@pytest.mark.parametrize("name", CLASSES)
async def test_hostile_uploads_of_a_class_end_as_they_should(
    images: PillowImages, hostile: dict[str, list[HostileUpload]], name: str
) -> None:
    wrong = [line for upload in hostile[name] if (line := await outcome(images, upload))]
    assert wrong == []


def test_there_are_enough_hostile_uploads(hostile: dict[str, list[HostileUpload]]) -> None:
    bodies = collections.Counter(upload.body for each in hostile.values() for upload in each)
    assert len(bodies) >= 320


# --- what is taken --------------------------------------------------------------------------------

TURNED = ("JPEG", "PNG", "WEBP")


async def opened(images: PillowImages, body: bytes) -> Image.Image:
    """The clean picture, decoded."""
    return decoded((await images.clean(body)).body)


def decoded(body: bytes) -> Image.Image:
    image = Image.open(BytesIO(body))
    image.load()
    return image


def differs(one: Image.Image, other: Image.Image) -> int:
    """By how much the two differ at most, in any pixel."""
    bands = ImageChops.difference(one.convert("RGBA"), other.convert("RGBA")).getextrema()
    return max(high for _, high in bands)  # type: ignore[misc]


async def test_nothing_goes_on_of_what_a_hundred_tagged_files_tell(images: PillowImages) -> None:
    hits = []
    for seed in range(20):
        for form in FORMATS:
            body = tagged(form, seed)
            assert body.count(TOKEN) > 1
            clean = await images.clean(body)
            if not holds_pixels_alone(clean.body) or decoded(clean.body).getexif():
                hits.append(f"{form} {seed}")
    assert hits == []


@pytest.mark.parametrize("form", FORMATS)
async def test_size_and_source_are_told_and_the_bytes_are_the_same_each_time(images: PillowImages, form: str) -> None:
    body = encoded(scene(48).resize((48, 32)), form)
    first, again = await images.clean(body), await images.clean(body)
    assert first == again
    source = {"JPEG": "jpg"}.get(form, form.lower())
    assert (first.size, first.source_format) == (Size(width=48, height=32), source)
    assert decoded(first.body).size == (48, 32)


@pytest.mark.parametrize(
    ("form", "options", "becomes"),
    [
        ("JPEG", {}, PictureFormat.JPG),
        ("WEBP", {}, PictureFormat.JPG),
        ("AVIF", {}, PictureFormat.JPG),
        ("WEBP", {"lossless": True}, PictureFormat.PNG),
        ("WEBP", {"lossless": True, "icc_profile": b"rubbish"}, PictureFormat.PNG),
        ("PNG", {}, PictureFormat.PNG),
        ("GIF", {}, PictureFormat.PNG),
    ],
)
async def test_lossy_pictures_become_jpg_in_full_colour_and_others_png(
    images: PillowImages, form: str, options: dict[str, Any], becomes: PictureFormat
) -> None:
    body = whole(form, **options)
    clean = await images.clean(body)
    image = decoded(clean.body)
    assert clean.format == becomes
    assert image.format == {"jpg": "JPEG", "png": "PNG"}[becomes]
    assert differs(image, decoded(body)) <= (0 if becomes == PictureFormat.PNG else 24)
    if becomes == PictureFormat.JPG:
        assert clean.body[clean.body.index(b"\xff\xc0") + 11] == 0x11  # as many values of colour as of light


@pytest.mark.parametrize("form", ["PNG", "WEBP", "AVIF", "GIF"])
async def test_alpha_is_kept_whatever_the_format(images: PillowImages, form: str) -> None:
    glass = scene(48)
    glass.putalpha(Image.linear_gradient("L").resize((48, 48)).point(lambda value: 255 if value > 128 else 0))
    clean = await images.clean(encoded(glass, form))
    image = decoded(clean.body)
    assert (clean.format, image.mode) == (PictureFormat.PNG, "RGBA")
    assert image.getchannel("A").getextrema() == (0, 255)
    assert differs(image.getchannel("A"), glass.getchannel("A")) <= 2


async def test_alpha_that_hides_nothing_is_dropped_from_a_lossy_picture(images: PillowImages) -> None:
    assert (await images.clean(encoded(scene(48).convert("RGBA"), "AVIF"))).format == PictureFormat.JPG


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", TURNED)
async def test_picture_is_turned_upright(images: PillowImages, form: str, orientation: int) -> None:
    exif, image = Image.Exif(), scene(48).resize((48, 32))
    exif[0x0112] = orientation
    clean = await images.clean(encoded(image, form, exif=exif))
    assert clean.size == (Size(width=32, height=48) if orientation > 4 else Size(width=48, height=32))
    from PIL import ImageOps

    plain = decoded(encoded(image, form))
    plain.info["exif"] = exif.tobytes()
    assert differs(decoded(clean.body), ImageOps.exif_transpose(plain)) <= 24


async def test_avif_is_turned_upright_as_its_boxes_say(images: PillowImages) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    clean = await images.clean(encoded(scene(48).resize((48, 32)), "AVIF", exif=exif))
    assert clean.size == Size(width=32, height=48)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
async def test_colours_of_another_profile_are_those_that_a_browser_shows(images: PillowImages, form: str) -> None:
    profile = matrix_profile(P3_PRIMARIES, WHITE_D65, SRGB_CURVE)
    options = {"quality": 95} if form != "PNG" else {}
    body = encoded(Image.new("RGB", (64, 64), (200, 60, 60)), form, icc_profile=profile, **options)
    red, green, blue = (await opened(images, body)).convert("RGB").getpixel((32, 32))  # type: ignore[misc]
    assert abs(red - 217) <= 4
    assert abs(green - 41) <= 6
    assert abs(blue - 53) <= 6


async def test_first_frame_of_a_gif_is_shown_where_it_stands(images: PillowImages) -> None:
    frame = encoded(Image.new("P", (16, 16), 1), "GIF")
    place = frame.index(b"\x2c", 13)
    body = frame[:6] + b"\x40\0\x20\0" + frame[10 : place + 1] + b"\x08\0\x04\0" + frame[place + 5 :]
    clean = await images.clean(body)
    alpha = decoded(clean.body).getchannel("A")
    assert clean.size == Size(width=64, height=32)
    assert alpha.getbbox() == (8, 4, 24, 20)
    assert (await images.clean(gif_film(3))).body == (await images.clean(gif_film(1))).body


@pytest.mark.parametrize("odd", [odd_jpegs, odd_pngs, odd_webps])
async def test_whole_pictures_are_taken_however_odd(images: PillowImages, odd: Any) -> None:
    refused = []
    for name, body in odd().items():
        try:
            await images.clean(body)
        except InvalidRequest as error:
            refused.append(f"{name}: {error}")
    assert refused == []


# --- what is refused, and how ---------------------------------------------------------------------


async def test_heic_is_refused_by_name_with_what_to_do(images: PillowImages) -> None:
    with pytest.raises(UnsupportedPicture, match=r"a HEIC.*convert it to jpg \(iPhone: Settings > Camera > Formats"):
        await images.clean(heif(b"heic", b"mif1"))


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"<svg/>", "an SVG"),
        (b"II*\0", "a TIFF"),
        (b"BM", "a BMP"),
        (b"\0\0\1\0", "an icon"),
        (b"%PDF", "a PDF"),
        (b"<html>", "an HTML page"),
        (b"\xff\x0a", "a JPEG XL"),
    ],
)
async def test_formats_that_are_not_taken_are_named(images: PillowImages, body: bytes, named: str) -> None:
    with pytest.raises(UnsupportedPicture, match=f"the file is {re.escape(named)}.*taken are jpg, png, webp, avif"):
        await images.clean(body + bytes(64))


@pytest.mark.parametrize("form", FORMATS)
async def test_changed_bytes_are_taken_or_refused_as_the_callers_fault(images: PillowImages, form: str) -> None:
    dice, body = random.Random(SEED), whole(form)
    for _ in range(120):
        changed = bytearray(body)
        for _ in range(dice.choice((1, 1, 3))):
            changed[dice.randrange(len(body))] = dice.choice((0, 255, dice.randrange(256)))
        try:
            clean = await images.clean(bytes(changed))
        except (InvalidPicture, UnsupportedPicture, PictureTooLarge):
            continue
        assert holds_pixels_alone(clean.body)


async def test_picture_that_takes_too_long_is_refused_and_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, clean_upload = threading.Event(), uploads.clean_upload

    def slow(*given: Any) -> Any:
        goes_on.wait(30)
        return clean_upload(*given)

    monkeypatch.setattr(uploads, "clean_upload", slow)
    images = PillowImages(threads=1, seconds=0.05, room_seconds=0.2)
    with pytest.raises(InvalidPicture, match=r"not decoded within 0\.05 s"):
        await images.clean(whole("PNG"))
    with pytest.raises(StillGenerating):
        await images.clean(whole("PNG"))
    goes_on.set()
    images.close()


async def test_memory_that_is_refused_is_no_fault_of_the_caller(
    images: PillowImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(_: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(uploads, "shown", exhausted)
    with pytest.raises(StillGenerating):
        await images.clean(whole("PNG"))


def test_what_would_take_more_memory_than_promised_is_refused_by_its_header() -> None:
    largest = read_upload(encoded(Image.new("1", (4096, 4096)), "PNG"))
    assert largest.memory_bytes <= UPLOAD_MEMORY_BYTES
    canvas = b"\x10\0\0\0\xff\x0f\0\xff\x0f\0"  # 4096 x 4096, of which a webp's decoder holds two
    webp = whole("WEBP", icc_profile=bytes(3_000_000))
    with pytest.raises(PictureTooLarge, match="of memory, more than 300000000: send it smaller"):
        read_upload(webp[:20] + canvas + webp[30:])


# The one of each format that takes most of what is foreseen.
HEAVY = ("cmyk.jpg", "grey alpha.png", "palette.gif", "flat.webp", "alpha.avif")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_form_of_upload_takes_more_memory_than_is_foreseen_by_its_header() -> None:
    for name, (taken, foreseen) in answer_of("tests.support.largest_uploads", "most_of_all", 1536, HEAVY).items():
        assert taken <= foreseen, name


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_worst_upload_stays_within_the_memory_that_is_promised(tmp_path: Path) -> None:
    (tmp_path / "flat.webp").write_bytes(LARGEST["flat.webp"](SIDE))  # of 700 bytes
    outcome, taken, _ = answer_of("tests.support.largest_uploads", "clean_alone", str(tmp_path / "flat.webp"))
    assert outcome == "png"
    assert 200_000_000 < taken <= 0.97 * UPLOAD_MEMORY_BYTES

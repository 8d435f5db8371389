"""Whether all pixels came out of a file, and whether there is anything to see."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageDraw, ImageFilter

from copperplate.adapters.painter import Painter
from copperplate.errors import NoPicture, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.imaging import jpeg_segments, wholeness
from copperplate.imaging.blankness import FLAT_ONE_IN, is_blank
from copperplate.imaging.containers import read_container
from copperplate.imaging.decode import open_container
from copperplate.imaging.header import read_header
from copperplate.imaging.pillow_images import PillowImages
from copperplate.model import PictureFormat, ProviderResult, Rendition, Size
from tests.support import odd_pictures
from tests.support.odd_pictures import FORMATS, damaged, encoded, scene

if TYPE_CHECKING:
    from collections.abc import Iterator

ANY_SIZE = Size(width=1, height=1)
ODD = {
    f"{form}: {name}": body
    for form, made in (
        ("jpg", odd_pictures.odd_jpegs()),
        ("png", odd_pictures.odd_pngs()),
        ("webp", odd_pictures.odd_webps()),
    )
    for name, body in made.items()
}


@pytest.fixture(scope="module")
def images() -> Iterator[PillowImages]:
    made = PillowImages(threads=2)
    yield made
    made.close()


async def refused(images: PillowImages, body: bytes) -> bool:
    try:
        await images.verify(body, covers=ANY_SIZE)
    except ProviderFailed as failed:
        return failed.failure_class is FailureClass.BAD_OUTPUT
    return False


@pytest.mark.parametrize("name", ODD)
async def test_whole_picture_with_an_oddity_is_kept_and_can_be_served_in_every_size(
    images: PillowImages, name: str
) -> None:
    body = ODD[name]
    facts = await images.verify(body, covers=ANY_SIZE)
    assert name.startswith(f"{facts.format}: ")
    assert facts.has_c2pa is name.endswith("c2pa")
    async with images.open(body, model="m") as picture:
        canvas = Size(width=8, height=8)
        assert await picture.encode(Rendition(format=PictureFormat.PNG, quality=None), canvas=canvas)


@pytest.mark.parametrize("form", ["jpg", "webp"])
async def test_what_lies_behind_a_picture_is_not_shown(images: PillowImages, form: str) -> None:
    async def shown(body: bytes) -> bytes:
        async with images.open(body, model="m") as picture:
            canvas = Size(width=160, height=160)
            return await picture.encode(Rendition(format=PictureFormat.PNG, quality=None), canvas=canvas)

    behind = [body for name, body in ODD.items() if name.startswith(form) and ("behind" in name or "within" in name)]
    plain = await shown(encoded(scene(), "JPEG" if form == "jpg" else "WEBP"))
    assert len(behind) >= 2
    assert [await shown(body) == plain for body in behind] == [True] * len(behind)


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"restart_marker_rows": 1}),
        ("JPEG", {"optimize": True, "subsampling": 0}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
    ],
    ids=["jpg", "progressive", "restarts", "4:4:4", "png", "webp", "lossless"],
)
async def test_no_damaged_picture_is_kept(images: PillowImages, form: str, options: dict[str, object]) -> None:
    body = encoded(scene(), form, **options)
    assert not await refused(images, body)
    kept = [name for name, spoilt in damaged(body, form).items() if not await refused(images, spoilt)]
    assert kept == []


@pytest.mark.parametrize("form", ["CMYK", "L"])
async def test_no_damaged_jpeg_of_other_colours_is_kept(images: PillowImages, form: str) -> None:
    body = encoded(scene().convert(form), "JPEG")
    assert [name for name, spoilt in damaged(body, "JPEG").items() if not await refused(images, spoilt)] == []


async def test_no_damaged_alpha_is_kept(images: PillowImages) -> None:
    glass = scene()
    glass.putalpha(scene(seed=9).convert("L"))
    for lossless in (False, True):
        body = encoded(glass, "WEBP", lossless=lossless)
        for name, spoilt in damaged(body, "WEBP").items():
            assert await refused(images, spoilt), name


async def test_gap_of_zeros_is_refused_even_if_every_block_is_there(images: PillowImages) -> None:
    dense = encoded(scene(), "JPEG", quality=95)
    assert not await refused(images, dense)
    place = dense.index(b"\xff\xda") + 900
    with pytest.raises(NoPicture, match="a gap of zeros"):
        await images.verify(dense[:place] + bytes(70) + dense[place + 70 :], covers=ANY_SIZE)


async def test_zeros_of_a_flat_jpeg_are_no_gap(images: PillowImages) -> None:
    flat = Image.new("RGB", (2048, 1024), "white")
    flat.paste("red", (10, 10, 200, 200))
    body = encoded(flat, "JPEG", optimize=True)
    assert bytes(jpeg_segments.GAP_BYTES) in body
    assert not await refused(images, body)


async def test_progressive_jpeg_that_ends_between_two_scans_is_refused(images: PillowImages) -> None:
    body = encoded(scene(), "JPEG", progressive=True)
    scans = [found.start() for found in re.finditer(rb"\xff\xda", body)]
    assert len(scans) > 8
    for place in scans[1:]:
        assert await refused(images, body[:place] + b"\xff\xd9")


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE", b"IDAT", b"IEND"])
async def test_critical_chunk_with_a_wrong_checksum_is_refused_but_the_end_holds_no_pixels(
    images: PillowImages, name: bytes
) -> None:
    body = bytearray(encoded(scene().quantize(16), "PNG"))
    place = body.index(name)
    body[place + 4 + int.from_bytes(body[place - 4 : place], "big")] ^= 1
    assert await refused(images, bytes(body)) is (name != b"IEND")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "I;16"])
@pytest.mark.parametrize("is_dark", [False, True], ids=["bright", "with a black last row"])
async def test_png_that_lacks_its_last_rows_is_refused(images: PillowImages, mode: str, is_dark: bool) -> None:
    picture = scene(64).convert("L" if mode == "I;16" else mode)
    if is_dark:
        picture.paste((0, 0, 0, 0) if mode == "RGBA" else 0, (0, 63, 64, 64))
    if mode == "I;16":
        picture = picture.convert("I").point(lambda level: level * 257).convert("I;16")
    body = encoded(picture, "PNG")
    assert not await refused(images, body)
    for missing in (1, 30):
        assert await refused(images, odd_pictures.png_without_rows(body, missing))


@pytest.mark.parametrize("side", [160, 161])
@pytest.mark.parametrize("name", [name for name in ODD if name.startswith("jpg")])
def test_strict_decoder_makes_the_pixels_that_pillow_makes(name: str, side: int) -> None:
    body = ODD[name] if side == 160 else encoded(scene(side), "JPEG", subsampling=0)
    header = read_header(body)
    container = read_container(body, header)
    with open_container(container, header) as opened, open_container(container, header) as by_pillow:
        by_pillow.draft(None, (side // 2, side // 2))
        by_pillow.load()
        proved = container.prove(opened)
    assert (proved.mode, proved.size) == (by_pillow.mode, by_pillow.size)
    assert proved.tobytes() == by_pillow.tobytes()
    assert proved.info.get("icc_profile") == by_pillow.info.get("icc_profile")


async def test_pixels_are_not_proved_by_pillow_alone(images: PillowImages, monkeypatch: pytest.MonkeyPatch) -> None:
    body = encoded(scene(), "JPEG")
    cut = body[: len(body) // 2] + b"\xff\xd9"
    assert await refused(images, cut)
    monkeypatch.setattr(wholeness, "prove_jpeg", lambda _, opened: opened)
    assert not await refused(images, cut)


# --- near-blank -----------------------------------------------------------------------------------


def night(side: int = 512) -> Image.Image:
    """Forty stars of a pixel or two on black."""
    sky, dice = Image.new("RGB", (side, side), (2, 2, 6)), random.Random(4)
    for _ in range(40):
        x, y = dice.randrange(side), dice.randrange(side)
        ImageDraw.Draw(sky).rectangle((x, y, x + dice.randrange(2), y), fill=(255, 250, 220))
    return sky


def thin_drawing() -> Image.Image:
    """A white page with one thin line."""
    page = Image.new("RGB", (1024, 1024), "white")
    ImageDraw.Draw(page).line([(300, 500), (420, 380), (560, 520)], fill=(60, 60, 60))
    return page


def fog() -> Image.Image:
    """Fog: all within a dozen levels of grey."""
    return (
        scene(256)
        .convert("L")
        .filter(ImageFilter.GaussianBlur(9))
        .point(lambda level: 200 + level // 22)
        .convert("RGB")
    )


def silhouette(colour: str) -> Image.Image:
    """One colour, its shape in alpha alone."""
    shape = Image.new("RGBA", (256, 256), colour)
    alpha = Image.new("L", (256, 256))
    ImageDraw.Draw(alpha).ellipse((60, 60, 190, 190), fill=255)
    shape.putalpha(alpha)
    return shape


SEEN = {
    "night": night(),
    "thin drawing": thin_drawing(),
    "fog": fog(),
    "gradient": Image.linear_gradient("L").resize((256, 256)).convert("RGB"),
    "gradient of ten levels": Image.linear_gradient("L").point(lambda level: 10 + level // 26).convert("RGB"),
    "two tones": Image.linear_gradient("L").point(lambda level: 30 + level // 128).convert("RGB"),
    "two halves": Image.linear_gradient("L").point(lambda level: 255 * (level > 127)).convert("RGB"),
}
BLANK = {
    "one pixel on black": (1, 0),
    "one pixel on white": (1, 255),
    "five pixels on grey": (5, 128),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", SEEN)
async def test_dark_bright_and_empty_pictures_are_kept(images: PillowImages, name: str, form: str) -> None:
    assert not await refused(images, encoded(SEEN[name], form))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", BLANK)
async def test_picture_with_next_to_nothing_on_it_is_refused(images: PillowImages, name: str, form: str) -> None:
    count, level = BLANK[name]
    flat = Image.new("RGB", (512, 512), (level,) * 3)
    for place in range(count):
        flat.putpixel((90 * place + 9, 300), (250, 40, 40))
    options = {"lossless": True} if form == "WEBP" else {}
    assert await refused(images, encoded(flat, form, **options)) is (form != "JPEG" or count == 1)


def test_the_measure_is_as_stated() -> None:
    flat = Image.new("RGB", (500, 500), (90, 90, 90))
    for place in range(500 * 500 // FLAT_ONE_IN):
        flat.putpixel((place, 7), (255, 255, 255))
    assert is_blank(flat)
    flat.putpixel((400, 400), (91, 90, 90))
    assert not is_blank(flat)


@pytest.mark.parametrize("colour", ["black", "white", "grey"])
async def test_silhouette_is_kept(images: PillowImages, colour: str) -> None:
    assert not await refused(images, encoded(silhouette(colour), "PNG"))


class StandingClock:
    async def sleep(self, seconds: float) -> None: ...


@pytest.mark.parametrize("prompt", ["sunset", "night sky", "cat", "fog over a lake", "mountains", "city at night"])
async def test_every_picture_of_the_painter_is_kept(images: PillowImages, prompt: str) -> None:
    recipe = {"prompt": prompt, "width": 256, "height": 256}
    painted = await Painter(StandingClock()).submit(recipe)  # type: ignore[arg-type]
    assert isinstance(painted, ProviderResult)
    assert not await refused(images, painted.body)

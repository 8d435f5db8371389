"""Verifying what a provider sent, and encoding what a caller asked for."""

from __future__ import annotations

import asyncio
import random
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageFile, ImageStat, PngImagePlugin

from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.imaging.header import FORMATS as FORMATS_BY_PILLOW
from copperplate.imaging.header import MAX_BODY_BYTES, MAX_PIXELS
from copperplate.imaging.pillow_images import PillowImages
from copperplate.imaging.provenance import xmp_packet
from copperplate.model import PictureFormat, PictureRequest, Rendition, Size
from tests.support.xmp import packets

if TYPE_CHECKING:
    from collections.abc import Iterator

LABEL_BYTES = len(xmp_packet("m"))
SIDE = Size(width=48, height=32)
PNG_HEAD = b"\x89PNG\r\n\x1a\n"
FORMATS = ("JPEG", "PNG", "WEBP")


@pytest.fixture
def images() -> Iterator[PillowImages]:
    made = PillowImages(threads=2)
    yield made
    made.close()


def picture(mode: str = "RGB", size: tuple[int, int] = (48, 32)) -> Image.Image:
    """Red above blue, with a green square at the upper left."""
    made = Image.new("RGB", size, (200, 30, 40))
    draw = ImageDraw.Draw(made)
    draw.rectangle((0, size[1] // 2, size[0], size[1]), fill=(20, 40, 190))
    draw.rectangle((0, 0, size[0] // 4, size[1] // 4), fill=(10, 180, 60))
    return made.convert(mode)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    target = BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header(width: int, height: int) -> bytes:
    return PNG_HEAD + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def jpeg_saying(width: int, height: int) -> bytes:
    body = bytearray(encoded(picture(), "JPEG"))
    place = body.index(b"\xff\xc0")
    body[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(body)


def webp_saying(width: int, height: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    vp8x = b"VP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + canvas
    simple = encoded(picture(), "WEBP")
    return b"RIFF" + struct.pack("<I", len(simple) - 8 + len(vp8x)) + b"WEBP" + vp8x + simple[12:]


def frames(form: str) -> bytes:
    other = picture().rotate(180)
    return encoded(picture(), form, save_all=True, append_images=[other], duration=100)


def png_with(change: str) -> bytes:
    body = bytearray(encoded(picture(), "PNG"))
    place = body.index(b"IDAT")
    length = int.from_bytes(body[place - 4 : place], "big")
    match change:
        case "checksum of the pixels":
            body[place + 4 + length] ^= 1
        case "checksum of the header":
            body[29] ^= 1
        case "a flipped bit in the pixels":
            body[place + 4 + length // 2] ^= 16
        case "no pixels":
            del body[place - 4 : place + 8 + length]
        case _:
            body[place + 4 : place + 8 + length] = b""
    return bytes(body)


def bomb_in_text() -> bytes:
    text = b"Comment\0\0" + zlib.compress(b"a" * 80_000_000, 1)
    whole = encoded(picture(), "PNG")
    return whole[:33] + chunk(b"zTXt", text) + whole[33:]


def bad_outputs() -> dict[str, bytes]:
    bad = {
        "nothing": b"",
        "one byte": b"\xff",
        "an html page": b"<!doctype html><html><body>502 Bad Gateway</body></html>",
        "json": b'{"detail": "content policy violation"}',
        "plain text": b"Service Unavailable",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
        "gif": encoded(picture(), "GIF"),
        "animated gif": frames("GIF"),
        "bmp": encoded(picture(), "BMP"),
        "tiff": encoded(picture(), "TIFF"),
        "ico": encoded(picture(), "ICO"),
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "zip": b"PK\x03\x04" + bytes(200),
        "two webp frames": frames("WEBP"),
        "two png frames": frames("PNG"),
        "two pictures in a jpeg": encoded(picture(), "MPO", save_all=True, append_images=[picture().rotate(180)]),
        "uniform black png": encoded(Image.new("RGB", (48, 32)), "PNG"),
        "uniform white png": encoded(Image.new("RGB", (48, 32), "white"), "PNG"),
        "uniform black jpeg": encoded(Image.new("RGB", (48, 32)), "JPEG"),
        "uniform white webp": encoded(Image.new("RGB", (48, 32), "white"), "WEBP"),
        "uniform grey": encoded(Image.new("L", (48, 32), 128), "PNG"),
        "uniform palette": encoded(Image.new("P", (48, 32)), "PNG"),
        "uniform 16 bits": encoded(Image.new("I;16", (48, 32)), "PNG"),
        "transparent everywhere": encoded(Image.new("RGBA", (48, 32), (9, 9, 9, 0)), "PNG"),
        "invisible colours": encoded(Image.merge("RGBA", (*picture().split(), Image.new("L", (48, 32)))), "PNG"),
        "too narrow": encoded(picture(size=(47, 32)), "PNG"),
        "too low": encoded(picture(size=(48, 31)), "JPEG"),
        "one pixel": encoded(Image.new("RGB", (1, 1), "red"), "PNG"),
        "png says 20000x20000": png_header(20_000, 20_000) + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
        "png says 4097x4096": png_header(4097, 4096) + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
        "png says 2^31": png_header(2**31 - 1, 2**31 - 1) + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
        "png says nothing by nothing": png_header(0, 0) + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
        "jpeg says 20000x20000": jpeg_saying(20_000, 20_000),
        "jpeg says 65500x65500": jpeg_saying(65_500, 65_500),
        "webp says 16384x16384": webp_saying(16_384, 16_384),
        "a bomb in a png's comment": bomb_in_text(),
        "a png without a header": PNG_HEAD + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b""),
        "an unknown png chunk only": PNG_HEAD + chunk(b"ABCD", b"x"),
        "a png signature only": PNG_HEAD,
        "a jpeg signature only": b"\xff\xd8\xff",
        "a webp signature only": b"RIFF\x04\0\0\0WEBP",
        "a jpeg of zeros": b"\xff\xd8\xff\xe0" + bytes(5000),
        "a webp of zeros": b"RIFF\xff\xff\0\0WEBPVP8 " + bytes(5000),
        "more bytes than are taken": encoded(picture(), "PNG") + bytes(MAX_BODY_BYTES),
    }
    changes = (
        "checksum of the pixels",
        "checksum of the header",
        "a flipped bit in the pixels",
        "no pixels",
        "no IDAT",
    )
    bad |= {f"png with {change}": png_with(change) for change in changes}
    for form in FORMATS:
        whole = encoded(picture(), form)
        bad |= {f"{form} cut at {tenth}/10": whole[: len(whole) * tenth // 10] for tenth in range(1, 10)}
        bad[f"{form} without its last 8 bytes"] = whole[:-8]
    return bad


BAD_OUTPUTS = bad_outputs()


@pytest.mark.parametrize("name", BAD_OUTPUTS)
async def test_bad_output_is_refused(images: PillowImages, name: str) -> None:
    with pytest.raises(ProviderFailed) as caught:
        await images.verify(BAD_OUTPUTS[name], covers=SIDE)
    assert caught.value.failure_class is FailureClass.BAD_OUTPUT
    assert caught.value.billed
    assert 0 < len(str(caught.value)) < 400


@pytest.mark.parametrize("seed", range(25))
async def test_noise_behind_a_signature_is_refused(images: PillowImages, seed: int) -> None:
    noise = zlib.compress(bytes([seed]) * 9, 0) + bytes((seed * place * place + place) % 251 for place in range(3000))
    for head in (b"\xff\xd8\xff\xe0", PNG_HEAD, b"RIFF\xc0\x0b\0\0WEBPVP8L", b""):
        with pytest.raises(ProviderFailed):
            await images.verify(head + noise, covers=Size(width=1, height=1))


async def test_flipped_bytes_never_raise_anything_else(images: PillowImages) -> None:
    for form in FORMATS:
        whole = encoded(picture(), form)
        for place in range(0, len(whole), 5):
            body = bytearray(whole)
            body[place] ^= 0xA5
            try:
                size = (await images.verify(bytes(body), covers=Size(width=1, height=1))).size
            except ProviderFailed:
                continue
            assert size.width * size.height <= MAX_PIXELS


@pytest.mark.parametrize(("form", "ours"), list(FORMATS_BY_PILLOW.items()))
async def test_a_good_picture_is_told_by_its_bytes(images: PillowImages, form: str, ours: str) -> None:
    assert await facts(images, encoded(picture(), form), covers=SIDE) == (ours, SIDE)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "I;16", "1"])
async def test_every_mode_of_png_is_taken(images: PillowImages, mode: str) -> None:
    made = Image.frombytes("I;16", (48, 32), bytes(range(256)) * 12) if mode == "I;16" else picture(mode)
    body = encoded(made, "PNG")
    assert await facts(images, body, covers=SIDE) == ("png", SIDE)


@pytest.mark.parametrize(
    "body",
    [
        encoded(picture(), "PNG") + b"trailing garbage",
        encoded(picture(), "JPEG") + b"\0" * 50,
        encoded(picture(), "JPEG", progressive=True),
        encoded(picture("CMYK"), "JPEG"),
        encoded(picture("L"), "JPEG"),
        encoded(picture(), "WEBP", lossless=True),
        encoded(picture(), "PNG", compress_level=0),
        encoded(picture(size=(4096, 4096)), "PNG", compress_level=1),
    ],
    ids=["garbage after png", "zeros after jpeg", "progressive", "cmyk", "grey", "lossless", "stored", "largest"],
)
async def test_unusual_but_good_pictures_are_taken(images: PillowImages, body: bytes) -> None:
    await images.verify(body, covers=SIDE)


async def test_a_picture_of_exactly_as_many_bytes_as_are_taken_is_taken(images: PillowImages) -> None:
    body = encoded(picture(), "JPEG")
    whole = body + bytes(MAX_BODY_BYTES - len(body))
    assert await facts(images, whole, covers=SIDE) == ("jpg", SIDE)
    with pytest.raises(ProviderFailed, match=f"more than {MAX_BODY_BYTES}"):
        await images.verify(whole + b"x", covers=SIDE)


async def test_a_sound_picture_above_the_limit_is_refused_by_its_header(images: PillowImages) -> None:
    body = encoded(picture("1", size=(4097, 4096)), "PNG", compress_level=1)
    with pytest.raises(ProviderFailed, match="4097x4096, more than 16777216 pixels"):
        await images.verify(body, covers=SIDE)


async def test_a_picture_on_its_side_is_measured_upright(images: PillowImages) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    body = encoded(picture(size=(64, 32)), "JPEG", exif=exif)
    assert await facts(images, body, covers=Size(width=32, height=64)) == ("jpg", Size(width=32, height=64))
    with pytest.raises(ProviderFailed, match="does not cover"):
        await images.verify(body, covers=Size(width=64, height=32))


async def test_running_out_of_memory_is_bad_output(images: PillowImages, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", exhausted)
    with pytest.raises(ProviderFailed, match="MemoryError"):
        await images.verify(encoded(picture(), "PNG"), covers=SIDE)


async def facts(images: PillowImages, body: bytes, covers: Size) -> tuple[str, Size]:
    found = await images.verify(body, covers=covers)
    return found.format, found.size


async def encode(
    images: PillowImages, original: bytes, request: PictureRequest, *, at_most_bytes: int | None = None
) -> bytes:
    async with images.open(original, model=request.model) as opened:
        return await opened.encode(request.rendition, canvas=request.canvas, at_most_bytes=at_most_bytes)


def picture_request(
    form: PictureFormat = PictureFormat.PNG, size: Size = SIDE, quality: int | None = None
) -> PictureRequest:
    return PictureRequest(
        kind="image",
        recipe={"model": "m"},
        generation_key="g",
        rendition_key="r",
        rendition=Rendition(format=form, quality=quality),
        canvas=size,
    )


def decoded(body: bytes) -> Image.Image:
    with Image.open(BytesIO(body)) as image:
        image.load()
        return image


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    found = image.getpixel((x, y))
    assert isinstance(found, tuple)
    return tuple(int(part) for part in found)


def near(one: tuple[int, ...], other: tuple[int, ...], *, within: int = 12) -> bool:
    return all(abs(a - b) <= within for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("form", list(PictureFormat))
@pytest.mark.parametrize("source", FORMATS)
async def test_every_format_becomes_every_other(images: PillowImages, source: str, form: PictureFormat) -> None:
    body = await encode(images, encoded(picture(), source), picture_request(form, quality=90))
    with Image.open(BytesIO(body)) as header:
        assert header.format == ("JPEG" if form is PictureFormat.JPG else form.name)
    made = decoded(body)
    assert made.size == (SIDE.width, SIDE.height)
    assert made.mode == "RGB"
    assert sum(ImageStat.Stat(ImageChops.difference(made, picture())).mean) < 30


async def test_png_keeps_every_pixel(images: PillowImages) -> None:
    assert decoded(await encode(images, encoded(picture(), "PNG"), picture_request())).tobytes() == picture().tobytes()


@pytest.mark.parametrize("size", [(24, 16), (48, 16), (16, 32), (1, 1), (96, 96), (47, 31)])
async def test_the_result_has_exactly_the_asked_size(images: PillowImages, size: tuple[int, int]) -> None:
    asked = Size(width=size[0], height=size[1])
    assert decoded(await encode(images, encoded(picture(), "PNG"), picture_request(size=asked))).size == size


async def test_the_middle_is_cut_out_of_another_ratio(images: PillowImages) -> None:
    wide = Image.new("RGB", (300, 100), "white")
    ImageDraw.Draw(wide).rectangle((100, 0, 199, 99), fill="black")
    made = decoded(await encode(images, encoded(wide, "PNG"), picture_request(size=Size(width=50, height=50))))
    assert max(made.convert("L").crop((1, 0, 49, 50)).tobytes()) <= 30


async def test_a_reduced_jpeg_shows_the_whole_picture(images: PillowImages) -> None:
    large = encoded(picture(size=(1600, 1000)), "JPEG", quality=95)
    made = decoded(await encode(images, large, picture_request(size=Size(width=80, height=50))))
    assert near(pixel(made, 5, 5), (10, 180, 60))
    assert near(pixel(made, 60, 10), (200, 30, 40))
    assert near(pixel(made, 60, 40), (20, 40, 190))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
async def test_pictures_are_turned_upright(images: PillowImages, form: str, orientation: int) -> None:
    # How a camera held that way would have stored it: the inverse of what puts it upright.
    turn = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]
    stored = picture(size=(64, 48))
    if turn is not None:
        stored = stored.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = encoded(stored, form, exif=exif, quality=95)
    made = decoded(await encode(images, body, picture_request(size=Size(width=64, height=48))))
    assert near(pixel(made, 6, 4), (10, 180, 60), within=25)
    assert near(pixel(made, 50, 40), (20, 40, 190), within=25)


def with_alpha() -> Image.Image:
    alpha = Image.new("L", (48, 32), 255)
    ImageDraw.Draw(alpha).rectangle((0, 0, 23, 31), fill=0)
    return Image.merge("RGBA", (*picture().split(), alpha))


async def test_alpha_is_laid_on_white_for_jpg_and_kept_otherwise(images: PillowImages) -> None:
    body = encoded(with_alpha(), "PNG")
    jpg = decoded(await encode(images, body, picture_request(PictureFormat.JPG, quality=95)))
    assert near(pixel(jpg, 4, 20), (255, 255, 255))
    assert near(pixel(jpg, 40, 28), (20, 40, 190), within=25)
    for form in (PictureFormat.PNG, PictureFormat.WEBP):
        kept = decoded(await encode(images, body, picture_request(form, quality=90)))
        assert kept.mode == "RGBA"
        assert pixel(kept, 4, 20)[3] == 0


async def test_alpha_that_does_nothing_is_dropped(images: PillowImages) -> None:
    body = encoded(picture("RGBA"), "PNG")
    assert decoded(await encode(images, body, picture_request())).mode == "RGB"


async def test_transparency_of_a_palette_is_alpha(images: PillowImages) -> None:
    body = encoded(picture("P"), "PNG", transparency=picture("P").getpixel((40, 30)))
    made = decoded(await encode(images, body, picture_request()))
    assert made.mode == "RGBA"
    assert pixel(made, 40, 30)[3] == 0


async def test_sixteen_bits_are_scaled_not_clipped(images: PillowImages) -> None:
    deep = Image.frombytes("I;16", (256, 1), b"".join(struct.pack("<H", level * 257) for level in range(256)))
    made = decoded(await encode(images, encoded(deep, "PNG"), picture_request(size=Size(width=256, height=1))))
    assert near(tuple(made.getchannel("R").tobytes()), tuple(range(256)), within=1)


def laden(form: str) -> bytes:
    """A picture that carries everything a picture can carry."""
    exif = Image.Exif()
    exif[0x010E] = "secret prompt in exif"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options: dict[str, Any] = {
        "exif": exif,
        "icc_profile": profile,
        "xmp": b"<x:xmpmeta>secret prompt in xmp</x:xmpmeta>",
    }
    if form == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("parameters", "secret prompt in text")
        options |= {"pnginfo": text, "dpi": (300, 300)}
        options.pop("xmp")
    if form == "JPEG":
        options |= {"comment": "secret prompt in a comment", "dpi": (300, 300)}
    return encoded(picture(), form, **options)


@pytest.mark.parametrize("form", list(PictureFormat))
@pytest.mark.parametrize("source", FORMATS)
async def test_no_metadata_survives(images: PillowImages, source: str, form: PictureFormat) -> None:
    body = laden(source)
    assert b"secret prompt" in body
    made = await encode(images, body, picture_request(form, quality=85))
    assert b"secret" not in made
    info = decoded(made).info
    assert not {"exif", "icc_profile", "comment", "parameters", "dpi"} & set(info), info
    assert packets(made) == [xmp_packet("m")]  # the label, which is ours


async def test_foreign_colours_are_brought_to_srgb(images: PillowImages) -> None:
    srgb = ImageCms.createProfile("sRGB")
    # A profile whose red and blue are swapped: sRGB's own with the two colorants exchanged.
    profile = bytearray(ImageCms.ImageCmsProfile(srgb).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    body = encoded(picture(), "PNG", icc_profile=bytes(profile))
    made = decoded(await encode(images, body, picture_request()))
    assert near(pixel(made, 40, 5), (40, 30, 200), within=40)


@pytest.mark.parametrize("profile", [b"not a profile", bytes(128), b"\0\0\0\x84lcms" + bytes(200)])
async def test_a_broken_profile_is_dropped(images: PillowImages, profile: bytes) -> None:
    made = decoded(await encode(images, encoded(picture(), "PNG", icc_profile=profile), picture_request()))
    assert made.tobytes() == picture().tobytes()


async def test_cmyk_becomes_rgb(images: PillowImages) -> None:
    made = decoded(await encode(images, encoded(picture("CMYK"), "JPEG", quality=95), picture_request()))
    assert near(pixel(made, 40, 5), (200, 30, 40), within=20)


async def test_quality_is_obeyed(images: PillowImages) -> None:
    noisy = encoded(Image.effect_noise((200, 200), 90).convert("RGB"), "PNG")
    for form in (PictureFormat.JPG, PictureFormat.WEBP):
        low, high = [len(await encode(images, noisy, picture_request(form, quality=quality))) for quality in (20, 95)]
        assert (low - LABEL_BYTES) * 2 < high - LABEL_BYTES


async def test_jpg_is_baseline_with_halved_colour(images: PillowImages) -> None:
    body = await encode(images, encoded(picture(), "PNG"), picture_request(PictureFormat.JPG, quality=85))
    assert b"\xff\xc0" in body
    assert b"\xff\xc2" not in body
    assert body[body.index(b"\xff\xc0") + 11] == 0x22  # 4:2:0


async def test_the_same_picture_gives_the_same_bytes(images: PillowImages) -> None:
    original = encoded(picture(), "PNG")
    for form in PictureFormat:
        assert await encode(images, original, picture_request(form)) == await encode(
            images, original, picture_request(form)
        )


@pytest.mark.parametrize("body", [b"", b"<html>", encoded(picture(), "PNG")[:60], encoded(picture(), "JPEG")[:300]])
async def test_an_original_that_cannot_be_decoded_is_bad_output(images: PillowImages, body: bytes) -> None:
    with pytest.raises(ProviderFailed) as caught:
        await encode(images, body, picture_request())
    assert caught.value.failure_class is FailureClass.BAD_OUTPUT


async def test_the_event_loop_turns_meanwhile(images: PillowImages) -> None:
    work = asyncio.create_task(
        encode(images, encoded(picture(size=(1024, 1024)), "PNG"), picture_request(PictureFormat.WEBP))
    )
    turns = 0
    while not work.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 5
    await work


async def test_it_can_be_closed_and_used_again() -> None:
    images = PillowImages()
    images.close()
    body = encoded(picture(), "PNG")
    assert await images.verify(body, covers=SIDE)
    images.close()
    images.close()
    assert await images.verify(body, covers=SIDE)
    images.close()


def test_truncated_files_are_never_tolerated_by_accident() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_pillow_is_only_loaded_to_work() -> None:
    imported = "import sys, copperplate.imaging.pillow_images"
    script = f"{imported}; sys.exit(any(name.split('.')[0] == 'PIL' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=30).returncode == 0


# --- pictures that may only be so large ----------------------------------------------------------


def noisy(mode: str, side: int) -> bytes:
    """A picture that hardly shrinks; with alpha its upper half is invisible."""
    generated = Image.frombytes("RGB", (side, side), random.Random(5).randbytes(side * side * 3)).convert(mode)
    if mode == "RGBA":
        alpha = Image.new("L", (side, side), 255)
        alpha.paste(0, (0, 0, side, side // 2))
        generated.putalpha(alpha)
    return encoded(generated, "PNG")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
async def test_a_png_that_is_too_large_is_given_a_palette(images: PillowImages, mode: str) -> None:
    side = 600
    body = noisy(mode, side)
    whole = picture_request(size=Size(width=side, height=side))
    limit = len(body) // 2
    assert len(await encode(images, body, whole)) > limit
    small = await encode(images, body, whole, at_most_bytes=limit)
    assert len(small) <= limit
    assert small[25] == 3  # a png's colour type: palette
    shown = decoded(small)
    assert shown.size == (side, side)
    if mode == "RGBA":
        alpha = shown.convert("RGBA").getchannel("A")
        assert (alpha.getpixel((9, 9)), alpha.getpixel((9, side - 9))) == (0, 255)


async def test_a_png_that_a_palette_does_not_make_small_enough_is_bad_output(images: PillowImages) -> None:
    with pytest.raises(ProviderFailed) as failed:
        await encode(
            images, noisy("RGB", 600), picture_request(size=Size(width=600, height=600)), at_most_bytes=100_000
        )
    assert failed.value.failure_class is FailureClass.BAD_OUTPUT


async def test_what_is_small_enough_is_left_as_it_is(images: PillowImages) -> None:
    body = encoded(picture(), "PNG")
    assert await encode(images, body, picture_request(), at_most_bytes=5_000_000) == await encode(
        images, body, picture_request()
    )


async def test_a_jpg_that_is_too_large_has_no_palette_to_be_saved_by(images: PillowImages) -> None:
    asked = picture_request(PictureFormat.JPG, size=Size(width=600, height=600), quality=95)
    with pytest.raises(ProviderFailed):
        await encode(images, noisy("RGB", 600), asked, at_most_bytes=1_000)

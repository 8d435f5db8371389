"""Pictures that are open: decoded once for many forms, in threads, in bounded memory."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageFile

from copperplate.errors import StillGenerating
from copperplate.imaging import decode, encoders
from copperplate.imaging.header import read_header
from copperplate.imaging.pillow_images import HELD_BYTES, NOT_URGENT_NICENESS, PillowImages
from copperplate.model import PictureFormat, Rendition, Size

if TYPE_CHECKING:
    from collections.abc import Iterator

CANVAS = Size(width=320, height=320)
SIDES = (16, 48, 96, 160)


@pytest.fixture
def images() -> Iterator[PillowImages]:
    made = PillowImages(threads=4)
    yield made
    made.close()


@pytest.fixture
def decoded_widths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The width of each picture that is decoded."""
    widths: list[int] = []
    load = ImageFile.ImageFile.load

    def counted(image: ImageFile.ImageFile) -> Any:
        if image.tile:
            widths.append(image.width)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counted)
    return widths


def original(form: str = "PNG", side: int = 320) -> bytes:
    target = BytesIO()
    ramp = Image.linear_gradient("L").resize((side, side))
    Image.merge("RGB", (ramp, ramp.rotate(90), ramp.rotate(180))).save(target, form)
    return target.getvalue()


def rendition(form: PictureFormat, side: int | None = None) -> Rendition:
    size = None if side is None else Size(width=side, height=side)
    return Rendition(format=form, quality=None if form is PictureFormat.PNG else 85, size=size)


ALL = [rendition(form, side) for side in (None, *SIDES) for form in PictureFormat]


async def one_by_one(images: PillowImages, body: bytes, wanted: list[Rendition]) -> list[bytes]:
    made = []
    for each in wanted:
        async with images.open(body, model="m") as picture:
            made.append(await picture.encode(each, canvas=CANVAS))
    return made


async def at_once(images: PillowImages, body: bytes, wanted: list[Rendition], **options: bool) -> list[bytes]:
    async with images.open(body, model="m", **options) as picture:
        return await asyncio.gather(*(picture.encode(each, canvas=CANVAS) for each in wanted))


async def test_all_forms_asked_at_once_are_those_asked_alone(images: PillowImages) -> None:
    assert await at_once(images, original(), ALL) == await one_by_one(images, original(), ALL)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
async def test_all_forms_asked_at_once_are_decoded_once(
    images: PillowImages, decoded_widths: list[int], form: str
) -> None:
    await at_once(images, original(form), ALL)
    assert decoded_widths == [320]


async def test_each_size_is_scaled_once_for_all_formats(images: PillowImages, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[Size] = []
    fit = decode.fit

    def noting(image: Image.Image, size: Size) -> Image.Image:
        sizes.append(size)
        return fit(image, size)

    monkeypatch.setattr(decode, "fit", noting)
    await at_once(images, original(), ALL)
    assert sorted(size.width for size in sizes) == [*SIDES, 320]


async def test_small_form_of_a_large_jpeg_is_not_decoded_at_full_size(
    images: PillowImages, decoded_widths: list[int]
) -> None:
    async with images.open(original("JPEG", 1024), model="m") as picture:
        await picture.encode(rendition(PictureFormat.JPG, 48), canvas=CANVAS)
        assert decoded_widths == [128]
        await picture.encode(rendition(PictureFormat.PNG, 64), canvas=CANVAS)
        assert decoded_widths == [128]
        larger = await picture.encode(rendition(PictureFormat.PNG, 320), canvas=CANVAS)
        assert decoded_widths == [128, 1024]
        smaller = await picture.encode(rendition(PictureFormat.PNG, 48), canvas=CANVAS)
    assert decoded_widths == [128, 1024]
    assert [Image.open(BytesIO(body)).width for body in (larger, smaller)] == [320, 48]


def test_size_that_is_expected_is_kept_rather_than_one_used_later() -> None:
    body = original()
    pixels = decode.Pixels(body, read_header(body))
    expected, *others = [Size(width=side, height=side) for side in (200, 210, 220, 230)]
    pixels.expect(expected)
    picture = pixels.of(expected)
    assert all(pixels.of(size) for size in others)
    assert pixels.of(expected) is picture


async def test_scaled_pictures_are_kept_within_the_pixels_of_the_original(images: PillowImages) -> None:
    sides = range(200, 260, 10)
    async with images.open(original(), model="m") as picture:
        for side in sides:
            await picture.encode(rendition(PictureFormat.JPG, side), canvas=CANVAS)
            kept = picture._pixels._sized  # type: ignore[attr-defined]
            assert sum(image.width * image.height for image in kept.values()) <= 320 * 320
            assert Size(width=side, height=side) in kept


# --- rooms ---------------------------------------------------------------------------------------------------


def recorded(monkeypatch: pytest.MonkeyPatch, note: Any) -> list[Any]:
    """What `note` answers in the thread of each encoding."""
    notes: list[Any] = []
    encode = encoders.encode

    def noting(*given: Any, **options: Any) -> bytes:
        notes.append(note())
        return encode(*given, **options)

    monkeypatch.setattr(encoders, "encode", noting)
    return notes


@pytest.mark.skipif(sys.platform != "linux", reason="niceness by thread")
@pytest.mark.parametrize(("is_urgent", "niceness"), [(True, 0), (False, NOT_URGENT_NICENESS)])
async def test_what_is_not_urgent_works_in_threads_of_a_lower_priority(
    images: PillowImages, monkeypatch: pytest.MonkeyPatch, is_urgent: bool, niceness: int
) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    found = recorded(monkeypatch, lambda: os.getpriority(os.PRIO_PROCESS, 0))
    await at_once(images, original(), [rendition(PictureFormat.JPG)], is_urgent=is_urgent)
    assert found == [before + niceness if niceness else before]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


async def test_what_is_not_urgent_takes_no_place_of_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    images, goes_on, begun = PillowImages(threads=1, room_seconds=0.05), threading.Event(), threading.Event()

    def wait() -> None:
        if threading.current_thread().name.startswith("imaging") and not begun.is_set():
            begun.set()
            goes_on.wait(30)

    recorded(monkeypatch, wait)
    slow = asyncio.create_task(at_once(images, original(), [rendition(PictureFormat.JPG)], is_urgent=False))
    await asyncio.to_thread(begun.wait, 30)
    with pytest.raises(StillGenerating):
        await at_once(images, original(), [rendition(PictureFormat.JPG)], is_urgent=False)
    assert await at_once(images, original(), [rendition(PictureFormat.JPG)])
    goes_on.set()
    assert await slow
    images.close()


async def test_open_pictures_hold_memory_until_they_are_closed(
    images: PillowImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images._urgent, "room_seconds", 0.02)
    give_back = await images._urgent.hold(HELD_BYTES - 8 * 320 * 320)
    async with images.open(original(), model="m"):
        with pytest.raises(StillGenerating):
            async with images.open(original(), model="m"):
                pass
    async with images.open(original(), model="m"):
        give_back()


async def test_picture_that_is_closed_while_a_thread_works_on_it_holds_memory_until_that_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, goes_on, begun = PillowImages(threads=1, room_seconds=0.05), threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        goes_on.wait(30)

    recorded(monkeypatch, wait)
    asked = asyncio.create_task(at_once(images, original(), [rendition(PictureFormat.JPG)]))
    await asyncio.to_thread(begun.wait, 30)
    asked.cancel()
    await asyncio.wait((asked,))
    with pytest.raises(StillGenerating):
        await images._urgent.hold(HELD_BYTES)
    goes_on.set()
    images._urgent.room_seconds = 30
    (await images._urgent.hold(HELD_BYTES))()
    images.close()


async def test_picture_too_large_for_the_smaller_room_is_taken_by_the_other(
    images: PillowImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images._not_urgent, "work_bytes", 1_000)
    monkeypatch.setattr(images._not_urgent, "room_seconds", 0.02)
    assert await at_once(images, original(), [rendition(PictureFormat.JPG)], is_urgent=False)


# --- the interpreter lock -----------------------------------------------------------------------------------


def test_a_jpeg_is_written_to_a_file_which_lets_go_of_the_interpreter_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    described: list[bool] = []
    save = Image.Image.save

    def noting(image: Image.Image, target: Any, **options: Any) -> None:
        described.append(isinstance(target.fileno(), int))
        save(image, target, **options)

    monkeypatch.setattr(Image.Image, "save", noting)
    encoders.encode(Image.new("RGB", (8, 8)), rendition(PictureFormat.JPG))
    assert described == [True]


def test_avif_takes_one_thread() -> None:
    assert encoders._OPTIONS[PictureFormat.AVIF]["max_threads"] == 1

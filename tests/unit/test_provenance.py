"""The label of what a model made, read by the containers' specifications and not by what wrote it."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from copperplate.imaging.pillow_images import PillowImages
from copperplate.imaging.provenance import MAX_MODEL_CHARS, xmp_packet
from copperplate.model import PictureFormat, Rendition, Size
from tests.support.xmp import label, packets

if TYPE_CHECKING:
    from collections.abc import Iterator

CANVAS = Size(width=40, height=30)
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
ODD_MODEL = """a "model" <b>&amp; 'é' 画\U0001f600"""


@pytest.fixture
def images() -> Iterator[PillowImages]:
    made = PillowImages(threads=1)
    yield made
    made.close()


def original(mode: str = "RGB") -> bytes:
    target = BytesIO()
    Image.radial_gradient("L").resize((80, 60)).convert(mode).save(target, "PNG")
    return target.getvalue()


async def rendered(images: PillowImages, form: PictureFormat, *, model: str, mode: str = "RGB") -> list[bytes]:
    """The whole canvas, and a sized form."""
    quality = None if form is PictureFormat.PNG else 85
    async with images.open(original(mode), model=model) as picture:
        return [
            await picture.encode(Rendition(format=form, quality=quality, size=size), canvas=CANVAS)
            for size in (None, Size(width=16, height=16))
        ]


@pytest.mark.parametrize("mode", ["RGB", "LA"])
@pytest.mark.parametrize("form", list(PictureFormat))
@pytest.mark.parametrize("model", ["fal-ai/flux/schnell", ODD_MODEL])
async def test_every_rendition_says_that_a_model_made_it_and_which(
    images: PillowImages, form: PictureFormat, model: str, mode: str
) -> None:
    for body in await rendered(images, form, model=model, mode=mode):
        assert label(body) == {"DigitalSourceType": TRAINED, "AISystemUsed": model}


async def test_a_png_with_a_palette_is_labelled_too(images: PillowImages) -> None:
    noise = BytesIO()
    Image.effect_noise((200, 200), 90).convert("RGB").save(noise, "PNG")
    async with images.open(noise.getvalue(), model="m") as picture:
        rendition = Rendition(format=PictureFormat.PNG, quality=None)
        body = await picture.encode(rendition, canvas=CANVAS, at_most_bytes=3_000)
    assert Image.open(BytesIO(body)).mode == "P"
    assert label(body)["AISystemUsed"] == "m"


@pytest.mark.parametrize("form", list(PictureFormat))
async def test_without_labels_no_packet_is_written(form: PictureFormat) -> None:
    images = PillowImages(threads=1, has_labels=False)
    for body in await rendered(images, form, model="m"):
        assert packets(body) == []
    images.close()


def test_with_labels_the_version_is_higher_so_that_older_renditions_are_made_again() -> None:
    assert PillowImages(has_labels=True).encoder_version > PillowImages(has_labels=False).encoder_version > 0


async def test_no_name_of_a_model_spoils_the_packet(images: PillowImages) -> None:
    [body, _] = await rendered(images, PictureFormat.JPG, model="\0\x1b\ud800\uffff" + "画" * 20_000)
    assert label(body)["AISystemUsed"] == "\ufffd" * 4 + "画" * (MAX_MODEL_CHARS - 4)


def test_packet_is_small() -> None:
    assert len(xmp_packet("fal-ai/flux/schnell")) < 500

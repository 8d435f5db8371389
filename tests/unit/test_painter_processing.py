"""The painter's stand-ins for models that process pictures, by what is to be seen in their results."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageDraw, ImageStat

from copperplate.adapters.painter.processing import BACKGROUND, FACES, UPSCALE, PainterProcessing
from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.imaging.pillow_images import PillowImages
from copperplate.model import CleanPicture, InputPicture, PictureFormat, Size
from copperplate.recipes.processed import processed_recipe, processed_request
from copperplate.source_errors import InvalidParameter

if TYPE_CHECKING:
    from copperplate.processing_models import ProcessingModel

GROUND, SUBJECT = (240, 240, 235), (30, 90, 160)
# SHA-256 of raw RGBA pixels. They may change only together with the name of the model.
GOLDEN = {
    BACKGROUND.name: "6293eaa758fe101ab410b7e66c3b8c71f11eab34ce11f616cb39f28db741b3d4",
    UPSCALE.name: "b4e9ed84acfef07f62f91b9cd012c40ebfbde7603cc2affe25517ea9158d165a",
    FACES.name: "4ea64233487a655ee8d8935987ccb252542f65cc30d37e4890d3907376e794b2",
}


class CountingClock:
    """Sleeps in no time and remembers how long it was asked to."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def photograph(width: int = 120, height: int = 90) -> Image.Image:
    """A blue disc with a hole of the ground's colour, on a ground that is not quite even."""
    picture = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(picture)
    for across in range(0, width, 7):
        draw.line((across, 0, across, height), fill=(232, 246, 230))
    box = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    draw.ellipse(box, fill=SUBJECT)
    draw.rectangle((width // 2 - 5, height // 2 - 5, width // 2 + 5, height // 2 + 5), fill=GROUND)
    return picture


def input_of(picture: Image.Image, form: PictureFormat = PictureFormat.PNG) -> InputPicture:
    target = BytesIO()
    picture.save(target, "JPEG" if form is PictureFormat.JPG else form.value.upper())
    size = Size(width=picture.width, height=picture.height)
    clean = CleanPicture(body=target.getvalue(), format=form, size=size, source_format=form.value)

    async def read() -> CleanPicture:
        return clean

    async def nowhere() -> None:
        return None

    return InputPicture(digest=hashlib.sha256(clean.body).hexdigest(), size=size, read=read, address=nowhere)


async def result_of(source: InputPicture, model: ProcessingModel, **given: str) -> Image.Image:
    """What the painter makes of it, once it was verified as a generation's picture is."""
    request = processed_request(processed_recipe(source.digest, model, given), source)
    painter, images = PainterProcessing(CountingClock()), PillowImages(threads=1)
    try:
        await painter.prepare(request.recipe, request.inputs)
        made = await painter.submit(request.recipe, request.inputs)
        facts = await images.verify(made.body, covers=request.canvas)
    finally:
        images.close()
        await painter.close()
    assert facts.format == "png"
    assert facts.size.covers(request.canvas)
    return Image.open(BytesIO(made.body))


def corners(picture: Image.Image) -> list[object]:
    right, bottom = picture.width - 1, picture.height - 1
    return [picture.getpixel(place) for place in ((0, 0), (right, 0), (0, bottom), (right, bottom))]


@pytest.mark.parametrize("form", [PictureFormat.PNG, PictureFormat.JPG, PictureFormat.WEBP])
async def test_ground_is_gone_and_the_subject_is_kept_with_what_it_encloses(form: PictureFormat) -> None:
    result = await result_of(input_of(photograph(), form), BACKGROUND)
    alpha = result.getchannel("A")
    assert corners(alpha) == [0, 0, 0, 0]
    assert alpha.getpixel((60, 5)) == 0
    assert alpha.getpixel((60, 30)) == 255
    assert alpha.getpixel((60, 45)) == 255, "the hole is no background: it is not reached from the border"
    shown = result.convert("RGB").crop((55, 28, 65, 34))
    assert ImageStat.Stat(shown).mean == pytest.approx(SUBJECT, abs=12)


async def test_edge_of_the_subject_is_soft() -> None:
    smooth = photograph(960, 720).resize((120, 90), Image.Resampling.LANCZOS)
    counts = (await result_of(input_of(smooth), BACKGROUND)).getchannel("A").histogram()
    assert sum(counts[1:255]) > 10


async def test_ground_of_a_large_picture_is_gone_as_well() -> None:
    """It is reached on a smaller mask, whose sides do not divide the picture's."""
    alpha = (await result_of(input_of(photograph(1003, 811)), BACKGROUND)).getchannel("A")
    assert corners(alpha) == [0, 0, 0, 0]
    assert alpha.getpixel((501, 270)) == 255


async def test_more_tolerance_takes_more_away() -> None:
    source = input_of(photograph())
    none, some = [
        ImageStat.Stat((await result_of(source, BACKGROUND, tolerance=each)).getchannel("A")).mean[0]
        for each in ("0", "32")
    ]
    assert some < none


async def test_picture_whose_background_is_gone_already_stays_as_it_is() -> None:
    before = await result_of(input_of(photograph()), BACKGROUND)
    after = await result_of(input_of(before), BACKGROUND)
    assert after.tobytes() == before.tobytes()


@pytest.mark.parametrize(("scale", "size"), [("2", (240, 180)), ("1", (120, 90)), ("1.25", (150, 112))])
async def test_upscaled_picture_is_so_many_times_as_large_and_shows_the_same(scale: str, size: tuple[int, int]) -> None:
    picture = photograph()
    result = await result_of(input_of(picture), UPSCALE, scale=scale)
    assert result.size == size
    assert result.mode == "RGB"
    assert ImageStat.Stat(result).mean == pytest.approx(ImageStat.Stat(picture).mean, abs=3)


async def test_transparent_picture_is_enlarged_without_a_fringe() -> None:
    cut = await result_of(input_of(photograph()), BACKGROUND)
    result = await result_of(input_of(cut), UPSCALE)
    assert result.size == (240, 180)
    assert corners(result.getchannel("A")) == [0, 0, 0, 0]
    assert result.getpixel((120, 60)) == (*SUBJECT, 255)


async def test_middle_is_sharper_and_the_corners_are_as_they_were() -> None:
    picture = photograph(400, 400).resize((200, 200), Image.Resampling.BICUBIC)
    weak, strong = [await result_of(input_of(picture), FACES, strength=each) for each in ("0.5", "3")]
    middle = (70, 70, 130, 130)
    spread = [ImageStat.Stat(each.crop(middle)).stddev[0] for each in (picture, weak, strong)]
    assert spread == sorted(spread)
    assert spread[0] < spread[2]
    for corner in ((0, 0, 20, 20), (180, 180, 200, 200)):
        assert strong.crop(corner).tobytes() == picture.crop(corner).tobytes()


@pytest.mark.parametrize("model", [BACKGROUND, UPSCALE, FACES])
async def test_picture_of_one_colour_is_refused_and_not_made_a_flat_result(model: ProcessingModel) -> None:
    with pytest.raises(ProviderFailed) as failed:
        await result_of(input_of(Image.new("RGB", (64, 64), GROUND)), model)
    assert failed.value.failure_class is FailureClass.INVALID
    assert failed.value.billed is False


@pytest.mark.parametrize("model", [BACKGROUND, UPSCALE, FACES])
async def test_same_picture_and_parameters_give_the_same_pixels_everywhere(model: ProcessingModel) -> None:
    result = await result_of(input_of(photograph()), model)
    assert hashlib.sha256(result.convert("RGBA").tobytes()).hexdigest() == GOLDEN[model.name]


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        (BACKGROUND, "tolerance", "129"),
        (BACKGROUND, "tolerance", "1.5"),
        (UPSCALE, "scale", "0.9"),
        (UPSCALE, "scale", "4.01"),
        (FACES, "strength", "0"),
        (FACES, "fidelity", "1"),
    ],
)
def test_parameters_out_of_their_range_are_refused(model: ProcessingModel, name: str, value: str) -> None:
    with pytest.raises(InvalidParameter):
        model.canonical_parameters({name: value})


async def test_painter_pretends_to_need_time_if_it_is_told_to() -> None:
    clock = CountingClock()
    source = input_of(photograph())
    await PainterProcessing(clock, seconds=3).submit(processed_recipe(source.digest, UPSCALE, {}), [source])
    assert clock.slept == [3]

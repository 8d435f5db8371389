"""Placeholders of pictures: as they are shown, made while a picture is verified, and never a reason to refuse one."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import pytest
from PIL import Image, ImageCms, ImageDraw

from copperplate.errors import ProviderFailed
from copperplate.imaging import placeholders, thumbhash, verification
from copperplate.imaging.pillow_images import PillowImages
from copperplate.model import PictureFormat, Placeholder, Size
from tests.support.pictures import MODEL, PLACEHOLDER
from tests.support.xmp import label

if TYPE_CHECKING:
    from collections.abc import Iterator

SIDE: Final = 128
WHOLE: Final = Size(width=SIDE, height=SIDE)


@pytest.fixture
def images() -> Iterator[PillowImages]:
    made = PillowImages(threads=1)
    yield made
    made.close()


def _halves(top: Any, bottom: Any, *, mode: str = "RGB", share: float = 0.5) -> Image.Image:
    image = Image.new(mode, (SIDE, SIDE), bottom)
    ImageDraw.Draw(image).rectangle((0, 0, SIDE, int(SIDE * share) - 1), fill=top)
    return image


def _saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    target = BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


def _drawn(placeholder: Placeholder, y: int) -> tuple[int, ...]:
    """A pixel in the middle of that line of the tiny picture."""
    pixel = placeholders.draw(placeholder, WHOLE).convert("RGBA").getpixel((16, y))
    assert isinstance(pixel, tuple)
    return pixel


def _is_near(color: str, expected: tuple[int, int, int], within: int = 12) -> bool:
    return all(abs(int(color[1 + 2 * at :][:2], 16) - value) <= within for at, value in enumerate(expected))


@pytest.mark.parametrize(
    ("image", "color"),
    [
        (_halves("#c80000", "#0000c8", share=0.56), "#c80000"),
        (_halves("#c80000", "#0000c8", share=0.44), "#0000c8"),
        # Neither half comes near the mean, which nobody sees.
        (_halves("white", "black", share=0.6), "#ffffff"),
        (_halves("#ff0000", (255, 255, 255, 0), mode="RGBA", share=0.2), "#ff0000"),
        (Image.new("RGBA", (SIDE, SIDE), (255, 255, 0, 90)), "#ffff00"),
        (_halves("#101010", "#eeeeee", share=0.3).convert("L"), "#eeeeee"),
    ],
)
def test_the_dominant_colour_is_that_of_the_largest_group(image: Image.Image, color: str) -> None:
    assert placeholders.placeholder_of(image, 1).color == color


def test_noise_around_a_colour_does_not_divide_it() -> None:
    noise = Image.effect_noise((SIDE, SIDE), 12)
    noisy = Image.merge("RGB", [noise.point([v - 128 + mean for v in range(256)]) for mean in (90, 150, 220)])
    noisy.paste(Image.effect_noise((SIDE, SIDE // 2 - 12), 250).convert("RGB"), (0, SIDE // 2 + 12))
    assert _is_near(placeholders.placeholder_of(noisy, 1).color, (90, 150, 220))


def test_a_picture_on_its_side_has_the_placeholder_of_the_upright_one() -> None:
    upright = _halves("#c8a000", "#203060")
    on_its_side = upright.transpose(Image.Transpose.ROTATE_90)
    assert placeholders.placeholder_of(on_its_side, 6) == placeholders.placeholder_of(upright, 1)


def test_the_shape_is_that_of_the_picture() -> None:
    wide = placeholders.placeholder_of(_halves("red", "blue").resize((200, 50)), 1)
    assert placeholders.draw(wide, Size(width=2048, height=512)).size == (32, 8)
    assert placeholders.draw(wide, Size(width=64, height=2048)).size == (1, 32)


def test_what_is_transparent_stays_so() -> None:
    made = placeholders.placeholder_of(_halves((255, 0, 0, 255), (0, 0, 0, 0), mode="RGBA"), 1)
    red, _, _, alpha = _drawn(made, 2)
    assert (red > 200, alpha > 230) == (True, True)
    assert _drawn(made, 29)[3] < 25


async def test_verification_makes_the_placeholder(images: PillowImages) -> None:
    picture = _halves("#d07020", "#205080", share=0.7)
    facts = [
        await images.verify(_saved(picture, form, **options), covers=WHOLE)
        for form, options in (("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {"quality": 95}))
    ]
    assert all(each.placeholder and _is_near(each.placeholder.color, (0xD0, 0x70, 0x20)) for each in facts)
    assert facts[0].placeholder is not None
    top, bottom = (_drawn(facts[0].placeholder, y) for y in (4, 30))
    assert (top[0] > top[2] + 100, bottom[2] > bottom[0] + 50) == (True, True)


async def test_colours_are_those_of_the_profile(images: PillowImages) -> None:
    picture = _halves((0, 200, 0), (0, 180, 10), share=0.8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()  # of another kind: left out
    plain = await images.verify(_saved(picture), covers=WHOLE)
    assert (await images.verify(_saved(picture, icc_profile=profile), covers=WHOLE)).placeholder == plain.placeholder


async def test_a_picture_is_kept_where_no_placeholder_can_be_made(
    images: PillowImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Placeholder:
        raise OSError("out of colours")

    monkeypatch.setattr(verification, "placeholder_of", fail)
    facts = await images.verify(_saved(_halves("red", "blue")), covers=WHOLE)
    assert (facts.format, facts.placeholder) == ("png", None)


async def test_a_kept_picture_gets_the_placeholder_it_would_have_had(images: PillowImages) -> None:
    picture = _halves("#d07020", "#205080", share=0.7).resize((512, 512))
    for form in ("PNG", "WEBP", "JPEG"):
        body = _saved(picture, form)
        verified = (await images.verify(body, covers=WHOLE)).placeholder
        later = await images.placeholder(body)
        assert verified is not None
        assert _is_near(later.color, tuple(bytes.fromhex(verified.color[1:])), within=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [b"", b"no picture", _saved(_halves("red", "blue"))[:-60]])
async def test_what_cannot_be_read_has_no_placeholder(images: PillowImages, body: bytes) -> None:
    with pytest.raises(ProviderFailed):
        await images.placeholder(body)


@pytest.mark.parametrize("picture_format", list(PictureFormat))
async def test_it_is_drawn_in_any_format_with_the_label(images: PillowImages, picture_format: PictureFormat) -> None:
    body = await images.draw_placeholder(PLACEHOLDER, picture_format, canvas=Size(width=1024, height=768), model=MODEL)
    with Image.open(BytesIO(body)) as drawn:
        assert (drawn.size, drawn.format) == ((32, 24), {"jpg": "JPEG"}.get(picture_format, picture_format.upper()))
    assert label(body)["AISystemUsed"] == MODEL


async def test_a_broken_hash_is_not_drawn(images: PillowImages) -> None:
    broken = Placeholder(thumbhash=b"abc", color="#000000")
    with pytest.raises(ValueError, match="ThumbHash"):
        await images.draw_placeholder(broken, PictureFormat.PNG, canvas=WHOLE, model=MODEL)


def test_the_hash_is_of_at_most_32_px() -> None:
    picture = _halves("#c8a000", "#203060").resize((1600, 900))
    tiny = picture.resize((32, 18), Image.Resampling.BOX).convert("RGBA")
    expected = placeholders.draw(Placeholder(thumbhash=thumbhash.encode(32, 18, tiny.tobytes()), color=""), WHOLE)
    made = placeholders.draw(placeholders.placeholder_of(picture, 1), WHOLE)
    differences = [abs(a - b) for a, b in zip(made.tobytes(), expected.tobytes(), strict=True)]
    assert max(differences) < 24

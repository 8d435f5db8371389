"""Pictures that look real: painted, drawn, grained, and those of a folder that `BENCH_PICTURES` names."""

from __future__ import annotations

import hashlib
import os
import random
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, ImageDraw

from copperplate.adapters.painter.scenes import paint_png

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBJECTS: Final = (
    "sunset",
    "night sky",
    "fox in snow",
    "cat",
    "fog over a lake",
    "city at night",
    "mountains",
    "desert",
)
FORMS: Final[dict[str, dict[str, Any]]] = {
    "jpg 85": {"format": "JPEG", "quality": 85},
    "progressive jpg 60": {"format": "JPEG", "quality": 60, "progressive": True},
    "png": {"format": "PNG", "compress_level": 1},
    "webp 80": {"format": "WEBP", "quality": 80, "method": 0},
}
ENDINGS: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
MAX_PIXELS: Final = 4096 * 4096


def files() -> dict[str, list[tuple[str, bytes]]]:
    """Every picture file by its source: the first folder below `BENCH_PICTURES`, or how it was made."""
    found = {
        "painter": [(f"{subject} {side}", painted(subject, side)) for subject in SUBJECTS for side in (256, 640)],
        "night": [(f"{stars} stars", encoded(night(stars))) for stars in (40, 200, 2000)],
        "line art": [(f"{lines} lines", encoded(drawing(lines))) for lines in (1, 3, 12)],
        "noise": [(f"{part:.2f}", encoded(noise(part))) for part in (0.02, 0.2, 1)],
    }
    folder = os.environ.get("BENCH_PICTURES")
    for path in sorted(Path(folder).rglob("*")) if folder else ():
        if path.suffix.lower() in ENDINGS and path.is_file():
            source = path.relative_to(folder).parts[0]  # type: ignore[arg-type]
            found.setdefault(source, []).append((path.name, path.read_bytes()))
    return found


def real_looking() -> Iterator[tuple[str, str, bytes]]:
    """Source, name and bytes, each only once: the files as they are, and re-encoded in two sizes and four forms."""
    seen = set()
    for source, pictures in files().items():
        for name, body in pictures:
            for form, made in _with_relatives(body):
                digest = hashlib.sha256(made).digest()
                if digest not in seen:
                    seen.add(digest)
                    yield source, f"{name}, {form}", made


def _with_relatives(body: bytes) -> Iterator[tuple[str, bytes]]:
    with Image.open(BytesIO(body)) as opened:
        if opened.width * opened.height > MAX_PIXELS or min(opened.size) < 64 or getattr(opened, "n_frames", 1) > 1:
            return
        image = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
    if not _is_of_one_colour(image):
        yield "as it is", body
    small = image.copy()
    small.thumbnail((640, 640))
    left, top = image.width // 4, image.height // 4
    middle = image.crop((left, top, left + image.width // 2, top + image.height // 2))
    middle.thumbnail((512, 512))
    for size, picture in (("small", small), ("middle", middle)):
        for form, options in FORMS.items():
            made = encoded(picture if form == "png" else _on_paper(picture), **options)
            with Image.open(BytesIO(made)) as again:
                if not _is_of_one_colour(again):
                    yield f"{size} {form}", made


def _is_of_one_colour(image: Image.Image) -> bool:
    """Whether there is truly nothing on it: some themes hold tiles of one colour, and middles of nothing."""
    return all(low == high for low, high in map(Image.Image.getextrema, image.convert("RGBA").split()))


def _on_paper(image: Image.Image) -> Image.Image:
    paper = Image.new("RGB", image.size, (96, 128, 160))
    paper.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
    return paper


def encoded(image: Image.Image, **options: Any) -> bytes:
    """The picture's file; a png unless told otherwise."""
    target = BytesIO()
    image.save(target, **(options or FORMS["png"]))
    return target.getvalue()


def painted(subject: str, side: int) -> bytes:
    """A picture of the painter."""
    return paint_png({"prompt": subject, "width": side, "height": side})


def night(stars: int, side: int = 1024) -> Image.Image:
    """Stars of a pixel or two on nearly black."""
    sky, dice = Image.new("RGB", (side, side), (2, 2, 6)), random.Random(stars)
    for _ in range(stars):
        x, y, light = dice.randrange(side), dice.randrange(side), dice.randrange(120, 256)
        ImageDraw.Draw(sky).rectangle((x, y, x + dice.randrange(2), y), fill=(light, light, light - 20))
    return sky


def drawing(lines: int, side: int = 1024) -> Image.Image:
    """Thin lines on white, in the middle of the page."""
    page, dice = Image.new("RGB", (side, side), "white"), random.Random(lines)
    for _ in range(lines):
        corners = [
            (dice.randrange(side // 3, side * 2 // 3), dice.randrange(side // 3, side * 2 // 3)) for _ in range(4)
        ]
        ImageDraw.Draw(page).line(corners, fill=(50, 50, 60))
    return page


def noise(part: float, side: int = 512) -> Image.Image:
    """A soft gradient with grain over it."""
    grain = Image.frombytes("RGB", (side, side), random.Random(7).randbytes(3 * side * side))
    return Image.blend(Image.linear_gradient("L").resize((side, side)).convert("RGB"), grain, part)

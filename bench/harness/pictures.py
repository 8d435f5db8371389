"""Pictures to encode, and how like one another two of them are."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageMath

from copperplate.adapters.painter import Painter
from copperplate.adapters.system_clock import SystemClock

if TYPE_CHECKING:
    from copperplate.model import CanonicalValue

SIDE = 1024
PROMPTS = (
    *("a lighthouse at dusk", "a fox in the snow", "a mountain lake at sunrise", "a red vase with flowers"),
    *("a city at night", "a smiling face", "a sailing boat on the sea", "a forest in autumn"),
)
# A folder of other people's pictures, measured beside those of the painter.
FOLDER = "BENCH_PICTURES"
LEAST_PIXELS = 100_000
# Constants of SSIM for eight bits (Wang et al. 2004).
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
BLOCK = 8


async def painted() -> list[Image.Image]:
    """Pictures of the painter."""
    recipe: dict[str, CanonicalValue] = {
        "kind": "image",
        "width": SIDE,
        "height": SIDE,
        "model": "painter",
        "settings": [],
    }
    made = []
    for seed, prompt in enumerate(PROMPTS):
        body = (
            await Painter(SystemClock()).submit({**recipe, "model": "painter", "prompt": prompt, "seed": seed})
        ).body
        made.append(Image.open(BytesIO(body or b"")).convert("RGB"))
    return made


def photo_like() -> list[Image.Image]:
    """Two pictures of noise in eight octaves."""
    made = []
    for _ in range(2):
        picture, share = Image.new("RGB", (SIDE, SIDE), "grey"), 0.5
        for octave in range(8):
            side = 4 * 2**octave
            noise = [Image.effect_noise((side, side), 100) for _ in range(3)]
            layer = Image.merge("RGB", noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            picture, share = Image.blend(picture, layer, share), share * 0.75
        made.append(picture)
    return made


def others() -> list[Image.Image]:
    """Those in the folder that `BENCH_PICTURES` names, none without it; at most 1024 px a side."""
    made = []
    for path in sorted(Path(os.environ[FOLDER]).rglob("*.*")) if FOLDER in os.environ else ():
        if path.suffix in {".jpg", ".png", ".webp"}:
            with Image.open(path) as image:
                picture = image.convert("RGB")
            if picture.width * picture.height >= LEAST_PIXELS:
                picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
                made.append(picture)
    return made


def ssim(one: Image.Image, other: Image.Image) -> float:
    """Structural similarity of luma over blocks of 8 x 8 pixels, 1 for the same picture."""
    x, y = (each.convert("L").convert("F") for each in (one, other))

    def mean(image: Image.Image) -> Image.Image:
        return image.reduce(BLOCK)

    def product(first: Image.Image, second: Image.Image) -> Image.Image:
        return mean(ImageMath.lambda_eval(lambda given: given["a"] * given["b"], a=first, b=second))

    similarity = ImageMath.lambda_eval(
        lambda of: (
            (of["x"] * of["y"] * 2 + C1)
            * ((of["xy"] - of["x"] * of["y"]) * 2 + C2)
            / (
                (of["x"] * of["x"] + of["y"] * of["y"] + C1)
                * (of["xx"] - of["x"] * of["x"] + of["yy"] - of["y"] * of["y"] + C2)
            )
        ),
        x=mean(x),
        y=mean(y),
        xx=product(x, x),
        yy=product(y, y),
        xy=product(x, y),
    )
    # The last row and column of blocks may be cut short.
    whole = similarity.crop((0, 0, one.width // BLOCK, one.height // BLOCK))
    return float(whole.reduce(whole.size).getpixel((0, 0)))

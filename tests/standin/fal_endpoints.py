"""STAND-IN for fal's endpoints that process pictures: they load `image_url`, and answer a real picture made of it.

What each takes is written down here again, from the type declarations of npm @fal-ai/client 1.10.1. The pictures are
made with Pillow: an honest size, an honest alpha channel, and no model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import httpx
from PIL import Image, ImageFilter

from tests.standin.bill import started

Check = Callable[[Any], bool]
MEGAPIXEL = 1024 * 1024
LOOPBACK = ("127.0.0.1", "localhost")


def _is_one_of(*words: str) -> Check:
    return lambda value: value in words


def _is_number(least: float, most: float) -> Check:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_seed(value: Any) -> bool:
    return isinstance(value, int)


@dataclass(frozen=True)
class Endpoint:
    """What it takes beside `image_url`, by which field it enlarges, how it answers, and what it bills."""

    fields: dict[str, Check]
    factor: str | None = None
    default_factor: float = 1
    removes_background: bool = False
    answer: str = "image"
    unit: str = "megapixels"


MODES = ("General Use (Light)", "General Use (Light 2K)", "General Use (Heavy)", "Matting", "Portrait")
REAL = ("RealESRGAN_x4plus", "RealESRGAN_x2plus", "RealESRGAN_x4plus_anime_6B")
ENDPOINTS: dict[str, Endpoint] = {
    "fal-ai/birefnet/v2": Endpoint(
        {
            "model": _is_one_of(*MODES, "General Use (Dynamic)"),
            "operating_resolution": _is_one_of("1024x1024", "2048x2048", "2304x2304"),
            "refine_foreground": _is_switch,
            "output_format": _is_one_of("webp", "png", "gif"),
        },
        removes_background=True,
        unit="compute_seconds",
    ),
    "fal-ai/bria/background/remove": Endpoint({}, removes_background=True, unit="pictures"),
    "fal-ai/seedvr/upscale/image": Endpoint(
        {
            "upscale_mode": _is_one_of("factor", "target"),
            "upscale_factor": _is_number(1, 10),
            "noise_scale": _is_number(0, 1),
            "seed": _is_seed,
            "output_format": _is_one_of("png", "jpg", "webp"),
        },
        factor="upscale_factor",
        default_factor=2,
    ),
    "fal-ai/esrgan": Endpoint(
        {
            "scale": _is_number(1, 8),
            "model": _is_one_of(*REAL, "RealESRGAN_x4_v3", "RealESRGAN_x4_wdn_v3", "RealESRGAN_x4_anime_v3"),
            "face": _is_switch,
            "output_format": _is_one_of("png", "jpeg"),
        },
        factor="scale",
        default_factor=2,
        unit="compute_seconds",
    ),
    "fal-ai/codeformer": Endpoint(
        {
            "fidelity": _is_number(0, 1),
            "upscale_factor": _is_number(0, 4),
            "face_upscale": _is_switch,
            "only_center_face": _is_switch,
            "seed": _is_seed,
        },
        factor="upscale_factor",
        default_factor=2,
    ),
    # No endpoint of fal's: what a test describes to see that a description is enough.
    "fal-ai/standin/sharpen": Endpoint({"amount": _is_number(0, 1)}, answer="images", unit="pictures"),
}


class NotLoaded(Exception):
    """The input is not at its address."""


def problem_of(endpoint: Endpoint, body: dict[str, Any]) -> dict[str, Any] | None:
    """The `detail` of a 422 for a body that the endpoint does not take."""
    if not isinstance(body.get("image_url"), str):
        return _detail("image_url", "missing")
    for name, value in body.items():
        check = endpoint.fields.get(name)
        if name != "image_url" and check is None:
            return _detail(name, "extra_forbidden")
        if check is not None and not check(value):
            return _detail(name, "value_error")
    return None


def _detail(name: str, kind: str) -> dict[str, Any]:
    return {"detail": [{"loc": ["body", name], "msg": "not so", "type": kind, "input": "withheld"}]}


async def process(endpoint: Endpoint, body: dict[str, Any], fault: str) -> tuple[bytes, int, int]:
    """The result and its size in px. Raises `NotLoaded`."""
    if httpx.URL(body["image_url"]).host not in LOOPBACK:
        raise NotLoaded  # the stand-in goes nowhere else
    try:
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            loaded = await client.get(body["image_url"])
            loaded.raise_for_status()
    except httpx.HTTPError as error:
        raise NotLoaded from error
    return await asyncio.to_thread(_processed, endpoint, body, loaded.content, fault)


def units_of(endpoint: Endpoint, width: int, height: int) -> dict[str, int]:
    """What is billed: of compute two seconds, whatever is asked."""
    amounts = {"megapixels": started(width * height, MEGAPIXEL), "pictures": 1, "compute_seconds": 2}
    return {endpoint.unit: amounts[endpoint.unit]}


def _processed(endpoint: Endpoint, body: dict[str, Any], loaded: bytes, fault: str) -> tuple[bytes, int, int]:
    with Image.open(BytesIO(loaded)) as opened:
        picture = opened.convert("RGBA" if endpoint.removes_background else "RGB")
    factor = float(body.get(endpoint.factor, endpoint.default_factor)) if endpoint.factor else 1.0
    width, height = int(picture.width * factor), int(picture.height * factor)
    if fault == "capped":
        width, height = picture.width, picture.height
    if fault == "in_blocks":
        width, height = width - width % 16, height - height % 16
    if endpoint.removes_background:
        picture.putalpha(Image.radial_gradient("L").resize(picture.size).point(lambda value: 255 - value))
    result = picture.resize((width, height), Image.Resampling.LANCZOS).filter(ImageFilter.UnsharpMask(2, 80, 0))
    target = BytesIO()
    result.save(target, {"jpg": "JPEG", "jpeg": "JPEG"}.get(str(body.get("output_format")), "PNG"))
    return target.getvalue(), width, height

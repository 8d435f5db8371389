"""Colours as a browser shows them: embedded profiles, depths and modes brought to sRGB of 8 bits."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image


def in_srgb(image: Image) -> Image:
    """Colours as the embedded profile means them; unchanged where there is none or it is broken."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    from PIL import ImageCms

    source = eight_bit(image) if image.mode in {"P", "PA", "LA", "I;16", "I"} else image
    mode: Any = "RGBA" if source.mode == "RGBA" else "RGB"
    try:
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(source, BytesIO(profile), srgb, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return converted or image


def eight_bit(image: Image) -> Image:
    """The same picture as RGB, or as RGBA if it has an alpha channel; 8 bits each."""
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow would clip them, not scale them
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L").convert("RGB")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)

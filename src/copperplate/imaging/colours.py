"""Colours as a browser shows them: profiles, gamma, chromaticities, depths and modes brought to sRGB of 8 bits."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, cast

from copperplate.imaging import icc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL.Image import Image

# The code points of a png's cICP (ITU-T H.273) that are converted. The curves of HDR, PQ and HLG, are not: what a
# browser shows of them depends on the screen.
_PRIMARIES: Final[Mapping[int, Sequence[icc.XY]]] = {
    1: icc.SRGB_PRIMARIES,
    9: icc.BT2020_PRIMARIES,
    12: icc.P3_PRIMARIES,
}
_CURVES: Final[Mapping[int, Sequence[float]]] = {
    **dict.fromkeys((1, 6, 14, 15), (2.4,)),
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: icc.SRGB_CURVE,
}
_RGB_OF_FULL_RANGE: Final = (0, 1)
# A file whose gamma alone is told, and is this, means sRGB, as browsers take it.
_GAMMA_OF_SRGB: Final = 0.45455
_SPACES: Final = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}


def in_srgb(image: Image) -> Image:
    """Colours as the file means them; unchanged where it says nothing of them, or nothing that can be used."""
    profile = _from_code_points(image.info.get("cicp")) or image.info.get("icc_profile") or _from_numbers(image.info)
    if not profile:
        return image
    from PIL import Image as Pillow

    space = _SPACES.get(profile[16:20])
    grey = image.mode == "L" or bool(image.info.get("is_grey"))
    if space is None or (space == "CMYK") != (image.mode == "CMYK") or (space == "L" and not grey):
        return image  # of another kind than the picture: browsers do without it
    seen = image if image.mode == "CMYK" else eight_bit(image)
    converted = _converted(seen if seen.mode == "CMYK" else seen.convert(space), profile)
    if converted is None:
        return image
    return Pillow.merge("RGBA", (*converted.split(), seen.getchannel("A"))) if seen.mode == "RGBA" else converted


def _converted(image: Image, profile: bytes) -> Image | None:
    from PIL import ImageCms

    try:
        # As browsers do: relative to the paper, which keeps the tone that the profile gives it.
        made: Any = ImageCms.profileToProfile(
            image,
            BytesIO(profile),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.NOWHITEONWHITEFIXUP,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return cast("Image | None", made)


def _from_code_points(cicp: bytes | None) -> bytes | None:
    if cicp is None or tuple(cicp[2:]) != _RGB_OF_FULL_RANGE:
        return None
    primaries, curve = _PRIMARIES.get(cicp[0]), _CURVES.get(cicp[1])
    return icc.matrix_profile(primaries, icc.WHITE_D65, curve) if primaries and curve else None


def _from_numbers(info: Mapping[Any, Any]) -> bytes | None:
    """A profile of what `gAMA` and `cHRM` of a png say; `sRGB` and cHRM alone say nothing that is converted."""
    gamma = info.get("gamma")
    if "srgb" in info or not gamma or not 0.1 <= gamma <= 10:
        return None
    points = info.get("chromaticity")
    if points is None:
        is_srgb = abs(gamma - _GAMMA_OF_SRGB) < 0.001
        return None if is_srgb else icc.matrix_profile(icc.SRGB_PRIMARIES, icc.WHITE_D65, (1 / gamma,))
    white, *primaries = zip(points[::2], points[1::2], strict=True)
    return icc.matrix_profile(primaries, white, (1 / gamma,))


def eight_bit(image: Image) -> Image:
    """The same picture as RGB, or as RGBA if it has an alpha channel; 8 bits each."""
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow would clip them, not scale them
        return _eight_bit_grey(image)
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _eight_bit_grey(image: Image) -> Image:
    from PIL import Image as Pillow
    from PIL import ImageMath

    values = image.convert("I")
    grey = values.point(lambda value: value * (1 / 257)).convert("L")
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return grey.convert("RGB")
    alpha = ImageMath.lambda_eval(lambda bands: (bands["values"] != key) * 255, values=values).convert("L")
    return Pillow.merge("RGBA", (grey, grey, grey, alpha))

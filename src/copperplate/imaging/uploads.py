"""A picture that somebody brings: judged by its header, decoded to its last pixel, and encoded anew (ADR 0061).

Nothing of its file goes on but its pixels. What is refused is the caller's fault, never a provider's.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from copperplate.errors import ProviderFailed, StillGenerating
from copperplate.imaging.avif_boxes import read_avif, without_metadata
from copperplate.imaging.containers import Container, read_container
from copperplate.imaging.decode import open_container, upright
from copperplate.imaging.foreign import TAKEN, is_avif, refusal_of
from copperplate.imaging.gif_blocks import gif_size, read_gif
from copperplate.imaging.header import MAX_BODY_BYTES, MAX_PIXELS, Header, OverLimit, read_header
from copperplate.imaging.orientation import read_orientation
from copperplate.imaging.upload_pixels import encode_clean, is_opaque, shown
from copperplate.model import CleanPicture, Size
from copperplate.source_errors import InvalidPicture, PictureTooLarge, UnsupportedPicture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from PIL.Image import Image

# Of the shorter side, in px: less is a marker or a line, not a picture.
MIN_SIDE: Final = 16
# The longer side to the shorter.
MAX_RATIO: Final = 64
# What the worst of all uploads takes above an idle process.
UPLOAD_MEMORY_BYTES: Final = 300_000_000
# Of which so much goes to tables, profiles and strips under way, whatever the size.
_OVERHEAD_BYTES: Final = 16_000_000
# Bytes for each pixel, and how many times the file is in memory (measured: bench/measurements/uploads.py). A
# progressive jpg of four colours keeps eight bytes a pixel beside four of the picture, a webp two canvases beside two
# pictures; an avif has up to 12 bits a value, with grain once more, and in a grid once more again.
_NEEDS: Final[Mapping[str, tuple[float, float]]] = {
    "JPEG": (12.5, 4),
    "PNG": (9, 4),
    "GIF": (11, 4),
    "WEBP": (16.5, 7),
    "AVIF": (22, 4),
    "AVIF grid": (34, 4),
}
_SOURCE_FORMATS: Final[Mapping[str, str]] = {
    "JPEG": "jpg",
    "PNG": "png",
    "GIF": "gif",
    "WEBP": "webp",
    "AVIF": "avif",
}
_DAMAGED: Final = "the picture cannot be decoded: its bytes are damaged. Send a whole one, or export it as jpg or png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What an upload says it is, and what cleaning it takes of memory at most."""

    header: Header
    memory_bytes: int


def read_upload(body: bytes) -> Upload:
    """What `body` is, by its bytes alone and before anything is decoded; cheap enough for the event loop.

    Raises `InvalidPicture`, `UnsupportedPicture` and `PictureTooLarge`.
    """
    if not body:
        raise InvalidPicture(f"the picture has no bytes; send {TAKEN}")
    if len(body) > MAX_BODY_BYTES:
        raise PictureTooLarge(f"the picture has {len(body)} bytes, more than {MAX_BODY_BYTES}")
    with _as_fault_of_caller():
        header, needs = _header_of(body)
    _check_size(header.size)
    bytes_per_pixel, copies = _NEEDS[needs]
    pixels = header.size.width * header.size.height
    memory_bytes = _OVERHEAD_BYTES + round(bytes_per_pixel * pixels) + round(copies * len(body))
    if memory_bytes > UPLOAD_MEMORY_BYTES:
        raise PictureTooLarge(
            f"the {_SOURCE_FORMATS[header.name]} of {header.size} in {len(body)} bytes takes {memory_bytes} bytes of "
            f"memory, more than {UPLOAD_MEMORY_BYTES}: send it smaller, or as jpg"
        )
    return Upload(header=header, memory_bytes=memory_bytes)


def clean_upload(body: bytes, header: Header) -> CleanPicture:
    """The picture encoded anew; raises as `read_upload` does, and `StillGenerating` where memory ran out."""
    with _as_fault_of_caller():
        picture, is_lossless = _shown(body, header)
        clean, picture_format = encode_clean(picture, is_lossless=is_lossless or not is_opaque(picture))
    return CleanPicture(
        body=clean,
        format=picture_format,
        size=Size(width=picture.width, height=picture.height),
        source_format=_SOURCE_FORMATS[header.name],
    )


@contextmanager
def _as_fault_of_caller() -> Iterator[None]:
    """Says of a picture what others say of a provider's; hostile bytes raise anything."""
    try:
        yield
    except (InvalidPicture, UnsupportedPicture, PictureTooLarge):
        raise
    except OverLimit as limit:
        raise PictureTooLarge(str(limit)) from limit
    except ProviderFailed as failed:
        raise InvalidPicture(str(failed)) from failed
    except MemoryError as error:
        raise StillGenerating from error
    except Exception as error:
        raise InvalidPicture(_DAMAGED) from error


def _header_of(body: bytes) -> tuple[Header, str]:
    """The header, and whose needs of memory it has."""
    if body.startswith((b"GIF87a", b"GIF89a")):
        return Header(name="GIF", size=gif_size(body)), "GIF"
    if is_avif(body):
        parts = read_avif(body)
        return Header(name="AVIF", size=parts.size), "AVIF grid" if parts.is_grid else "AVIF"
    if body.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or (body[:4] == b"RIFF" and body[8:12] == b"WEBP"):
        header = read_header(body)
        return header, header.name
    raise UnsupportedPicture(refusal_of(body))


def _check_size(size: Size) -> None:
    shorter, longer = sorted((size.width, size.height))
    if size.width * size.height > MAX_PIXELS:
        raise PictureTooLarge(f"the picture is {size}, more than {MAX_PIXELS} pixels: send it smaller")
    if shorter < MIN_SIDE:
        raise InvalidPicture(f"the picture is {size}: each side needs {MIN_SIDE} px")
    if longer > MAX_RATIO * shorter:
        raise InvalidPicture(f"the picture is {size}: one side may be {MAX_RATIO} times the other")


def _take_apart(body: bytes, header: Header) -> Container:
    match header.name:
        case "GIF":
            return read_gif(body)
        case "AVIF":
            colours = read_avif(body).colours
            pixels = without_metadata(body)
            return Container(body=pixels, has_c2pa=False, orientation=1, prove=_loaded, colours=colours)
        case _:
            return read_container(body, header)


def _shown(body: bytes, header: Header) -> tuple[Image, bool]:
    """The picture as it is shown, and whether its file kept every pixel's value.

    No more than two pictures are in memory at once: each step lets go of what the one before made.
    """
    container = _take_apart(body, header)
    picture, is_lossless = _decoded(container, header), container.is_lossless
    # An avif's is told by its boxes; Pillow writes it down as EXIF's.
    exif = picture.info.get("exif", b"") if header.name == "AVIF" else b""
    orientation = read_orientation(exif) if exif else container.orientation
    del container
    picture = shown(picture)
    return upright(picture, orientation), is_lossless


def _decoded(container: Container, header: Header) -> Image:
    """The pixels as they are stored; every one came out of the file."""
    with open_container(container, header) as image:
        proved = container.prove(image)
    if header.name != "JPEG":
        return proved
    del proved, image  # a jpg is proved in half of its size
    with open_container(container, header) as image:
        return _loaded(image)


def _loaded(image: Image) -> Image:
    image.load()
    return image

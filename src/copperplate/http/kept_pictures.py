"""`/api/images/{id}`: kept pictures by any of their names, in every form. Answered before routing; makes none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from copperplate.errors import InvalidRequest, NotFound
from copperplate.http.callers import caller_of
from copperplate.http.credentials import without_key
from copperplate.http.negotiation import negotiated_format, not_shared
from copperplate.http.parameters import ignored_header
from copperplate.http.picture_answers import error_answer, send_answer, serve
from copperplate.http.picture_urls import RequestedPicture
from copperplate.model import Outcome, PictureFormat, PictureRequest, Rendition
from copperplate.recipes.display import DISPLAY_NAMES, PLACEHOLDER_NAME, is_placeholder, parse_display
from copperplate.recipes.image import parse_format, rendition_key
from copperplate.recipes.url import MAX_QUERY_BYTES, parameter_name, parameter_value, read_parameters
from copperplate.serving.kept_names import find_kept_near

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope, Send

    from copperplate.ports.kept_pictures import KeptPicture
    from copperplate.recipes.display import Display
    from copperplate.services import Services

PREFIX: Final = "/api/images/"
INFO: Final = "/info.json"
FORMAT_NAME: Final = "format"
NEGOTIATED: Final = "auto"
_KNOWN: Final = frozenset({*DISPLAY_NAMES, PLACEHOLDER_NAME, FORMAT_NAME})


class KeptQuery(NamedTuple):
    """What the query of a kept picture says, decoded, and the names of the parameters that nobody knows."""

    values: Mapping[str, str]
    ignored: list[str]


def name_in(path: str) -> str | None:
    """The name of a picture in a decoded path; None where it is no path of one, or that of what is known of it."""
    return path.removeprefix(PREFIX) if path.startswith(PREFIX) and not path.endswith(INFO) else None


async def serve_kept(services: Services, name: str, scope: Scope, send: Send) -> None:
    """Answer with a kept picture, by the same rules as a picture's URL; 404 where it is not kept."""
    if _is_negotiated(scope["query_string"]):
        send = not_shared(send)
    started, is_looked_up = services.clock.monotonic(), False
    try:
        await caller_of(scope, services)  # a key that is not valid is refused everywhere
        query = KeptQuery(*read_parameters(without_key(scope["query_string"]), _KNOWN))
        is_looked_up = True
        kept = await find_kept_near(services.ledger, name, services.tiers)
        is_looked_up = False
        services.provider_of(kept.kind)  # raises where nothing of this kind is set up
        requested = _requested(kept, query, scope)
    except Exception as error:  # noqa: BLE001 - nothing above would answer
        # What is not there by this name is nobody's failure.
        is_failed = is_looked_up and not isinstance(error, InvalidRequest | NotFound)
        answer = error_answer(error, Outcome.FAILED if is_failed else None)
        await send_answer(send, scope, answer, None, services.clock.monotonic() - started)
        return
    await serve(services, requested, scope, send)


def _is_negotiated(query: bytes) -> bool:
    """Whether a raw query leaves the format open, however wrong the rest of it is: errors depend on Accept as well."""
    return any(
        parameter_name(part) == FORMAT_NAME and parameter_value(part) == NEGOTIATED.encode()
        for part in query[:MAX_QUERY_BYTES].split(b"&")
    )


def _requested(kept: KeptPicture, query: KeptQuery, scope: Scope) -> RequestedPicture:
    """The form asked for: the entry itself where none is. Raises `InvalidFormat` and `InvalidDisplay`."""
    values = query.values
    display = {each: values[each] for each in values if each in DISPLAY_NAMES}
    rendition, ignored = _own_rendition(kept), query.ignored
    key = kept.key
    if display or FORMAT_NAME in values:
        asked = values.get(FORMAT_NAME, kept.format)
        picture_format = negotiated_format(scope["headers"]) if asked == NEGOTIATED else parse_format(asked)
        shown = parse_display(display, kept.canvas, picture_format)
        ignored = [*ignored, *shown.ignored]
        has_effect = FORMAT_NAME in values or len(shown.ignored) < len(display)
        if has_effect and not _is_itself(kept, shown, has_quality="q" in display and "q" not in shown.ignored):
            rendition, key = shown.rendition, rendition_key(kept.generation_key, shown.rendition)
    return RequestedPicture(
        PictureRequest(
            kind=kept.kind,
            recipe={"kind": kept.kind, "model": kept.model},
            generation_key=kept.generation_key,
            rendition_key=key,
            rendition=rendition,
            canvas=kept.canvas,
        ),
        ignored_header(ignored),
        is_placeholder=is_placeholder(values),
        is_kept=True,
    )


def _is_itself(kept: KeptPicture, shown: Display, *, has_quality: bool) -> bool:
    """Whether this asks for the whole canvas in the format that the entry is: its bytes are not encoded again.

    An original keeps its provider's signature so. One that is larger than its canvas is another picture than that.
    """
    is_whole = not kept.is_sized and kept.size == kept.canvas
    return is_whole and not has_quality and shown.rendition.size is None and shown.rendition.format == kept.format


def _own_rendition(kept: KeptPicture) -> Rendition:
    return Rendition(
        format=PictureFormat(kept.format),
        quality=kept.quality,
        size=kept.size if kept.is_sized else None,
    )

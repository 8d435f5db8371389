"""A picture made from another: the digest of its source, the operation, its parameters and the model are its key.

SQL twin: `public.processed_cache_key`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from copperplate.errors import InvalidRequest
from copperplate.model import PictureFormat, PictureRequest, Rendition, Size
from copperplate.processing_models import least
from copperplate.recipes.canonical import cache_key
from copperplate.recipes.objects import KEY, original_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.model import CanonicalRecipe, CanonicalValue, InputPicture
    from copperplate.processing_models import ProcessingModel

KIND: Final = "processed"
# A recipe says nothing of its size: the source picture does.
UNKNOWN_SIZE: Final = Size(width=1, height=1)
# Its original is kept as the provider made it, in whatever format.
AS_MADE: Final = Rendition(format=PictureFormat.PNG, quality=None)
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")


def read_digest(text: str) -> str:
    """A SHA-256 in hexadecimal digits, in lower case. Raises `InvalidRequest`."""
    if _DIGEST.fullmatch(text) is None:
        raise InvalidRequest("The SHA-256 of a picture has 64 hexadecimal digits.")
    return text.lower()


def processed_recipe(source: str, model: ProcessingModel, given: Mapping[str, str]) -> CanonicalRecipe:
    """The canonical recipe, version 1, of what `model` makes of the picture with the digest `source`.

    Raises `InvalidParameter`.
    """
    if KEY.fullmatch(source) is None:
        message = "a source is named by its SHA-256"
        raise ValueError(message)
    return {
        "kind": KIND,
        "model": model.name,
        "operation": model.operation.value,
        "parameters": list(model.canonical_parameters(given)),
        "settings": sorted(model.settings),
        "source": source,
        "v": 1,
    }


def processed_request(recipe: Mapping[str, CanonicalValue], source: InputPicture | None = None) -> PictureRequest:
    """A recipe's keys, with its source picture where it is at hand: without it, it can be looked up and not made."""
    generation_key = cache_key(recipe)
    request = PictureRequest(
        kind=KIND,
        recipe=recipe,
        generation_key=generation_key,
        rendition_key=original_key(generation_key),
        rendition=AS_MADE,
        canvas=UNKNOWN_SIZE,
    )
    return request if source is None else with_source(request, source)


def with_source(request: PictureRequest, source: InputPicture) -> PictureRequest:
    """The same with its source picture, which says how large the result has to be at least."""
    return replace(request, inputs=(source,), canvas=least(source.size, parameters_of(request.recipe)))


def source_of(recipe: Mapping[str, CanonicalValue]) -> str:
    """The digest of the picture that a processed picture is made from."""
    return str(recipe["source"])


def parameters_of(recipe: Mapping[str, CanonicalValue]) -> tuple[str, ...]:
    """The parameters, as sorted `name=value`."""
    parameters = recipe["parameters"]
    return tuple(parameters) if isinstance(parameters, list) else ()

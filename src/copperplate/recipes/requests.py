"""From a canonical recipe, as the ledger keeps it, back to the request it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.model import PictureFormat, PictureRequest, Rendition
from copperplate.recipes.canonical import cache_key
from copperplate.recipes.display import default_rendition
from copperplate.recipes.image import rendition_key
from copperplate.recipes.kinds import KINDS, provider_input_of
from copperplate.recipes.objects import original_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.model import CanonicalValue


def request_of_recipe(recipe: Mapping[str, CanonicalValue]) -> PictureRequest:
    """The request for the picture of this recipe, in the form its kind is usually shown in: jpg, or its own original.

    The recipe is taken as it is, so its key is the one it was kept under, whatever became of defaults and templates.
    Raises `ValueError`, `TypeError` or `KeyError` for what is no canonical recipe of a kind there is.
    """
    canvas = provider_input_of(recipe).size
    kind, generation_key = str(recipe["kind"]), cache_key(recipe)
    if KINDS[kind].is_own_original:
        rendition = Rendition(format=PictureFormat.PNG, quality=None)
        shown_key = original_key(generation_key)
    else:
        rendition = default_rendition(PictureFormat.JPG)
        shown_key = rendition_key(generation_key, rendition)
    return PictureRequest(
        kind=kind,
        recipe=recipe,
        generation_key=generation_key,
        rendition_key=shown_key,
        rendition=rendition,
        canvas=canvas,
    )

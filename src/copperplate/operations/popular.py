"""What was asked for most lately, as items that can be asked for again."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from copperplate.recipes.kinds import IMAGE
from copperplate.recipes.memoji import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copperplate.ports import Wishes

# One address of a picture is asked for by its text, size, model and seed. A model's fixed settings are today's.
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    IMAGE.name: ("prompt", "width", "height", "model", "seed"),
}
_CHANGEABLE: Final = ("dimensions", "model")
MAX_DAYS: Final = 365
MAX_TOP: Final = 1_000
DEFAULT_TOP: Final = 100


async def popular_items(
    ledger: Wishes,
    *,
    days: int,
    top: int,
    is_offered: Callable[[str, str], bool],
    said: Mapping[str, str] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """The `top` most asked for in the last `days`, as `POST /api/generate` takes them, the most asked first.

    With what is `said` of `dimensions` or `model`: the prompts among them in that size, and by that model. Memoji have
    no prompt, and are left out then; items may repeat each other. What is not offered any more, by kind and model,
    cannot be asked for: it is left out, too.
    """
    changed = {name: said[name] for name in _CHANGEABLE if name in said}
    return [
        _item_of(recipe, changed)
        for recipe in await ledger.popular_recipes(days=days, limit=top)
        if (not changed or recipe["kind"] == IMAGE.name)
        and ("model" in changed or is_offered(str(recipe["kind"]), str(recipe["model"])))
    ]


def _item_of(recipe: Mapping[str, Any], changed: Mapping[str, str]) -> dict[str, Any]:
    kind = str(recipe["kind"])
    names = _MEMBERS.get(kind, FIELDS)
    dropped = {"width", "height"} if "dimensions" in changed else set()
    # An empty seed is none.
    members = {name: recipe[name] for name in names if name not in dropped and recipe.get(name) not in (None, "")}
    return {"kind": kind, **members, **changed}

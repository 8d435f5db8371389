"""Show every step from a memoji's configuration to its key."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from copperplate.errors import InvalidConfiguration
from copperplate.recipes.canonical import canonical_bytes
from copperplate.recipes.explain import InJson, as_table, listed
from copperplate.recipes.kinds import provider_input_of
from copperplate.recipes.memoji import FIELDS, memoji_request
from copperplate.recipes.objects import original_recipe
from copperplate.strict_json import InvalidJSON, parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.model import PictureRequest
    from copperplate.ports import Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class MemojiExplanation(InJson):
    """Every step from a configuration to its keys, in order.

    `respelled` are the fields given in another spelling than the one that counts, `defaults` those that were filled
    in; `prompt` is what a provider is told.
    """

    configuration: str
    respelled: Mapping[str, str] = field(hash=False)
    defaults: Mapping[str, str] = field(hash=False)
    prompt: str
    generation_recipe: str
    generation_key: str
    rendition_recipe: str
    rendition_key: str
    sql: str

    def as_table(self) -> str:
        """The steps as two columns."""
        return as_table(
            [
                ("configuration", self.configuration),
                ("spelled as", listed(self.respelled)),
                ("filled in", listed(self.defaults)),
                ("prompt", self.prompt),
                ("generation recipe", self.generation_recipe),
                ("generation key", self.generation_key),
                ("original's recipe", self.rendition_recipe),
                ("original's key", self.rendition_key),
                ("find it", self.sql),
            ]
        )


def explain_memoji(text: str, *, provider: Provider) -> MemojiExplanation:
    """Explain a configuration, given as JSON. Raises what `POST /api/generate-memoji` would answer."""
    try:
        configuration = parse_object(text)
    except InvalidJSON as fault:
        raise InvalidConfiguration(f'{fault} A configuration reads {{"familyType": "mother"}}') from None
    return _explanation(configuration, memoji_request(configuration, provider=provider))


def _explanation(configuration: Mapping[str, object], request: PictureRequest) -> MemojiExplanation:
    given = {name: value for name, value in configuration.items() if value is not None}
    return MemojiExplanation(
        configuration=json.dumps(configuration, ensure_ascii=False),
        respelled={
            name: _say(request.recipe[name]) for name in FIELDS if name in given and given[name] != request.recipe[name]
        },
        defaults={name: _say(request.recipe[name]) for name in (*FIELDS, "settings") if name not in given},
        prompt=provider_input_of(request.recipe).prompt,
        generation_recipe=canonical_bytes(request.recipe).decode(),
        generation_key=request.generation_key,
        rendition_recipe=canonical_bytes(original_recipe(request.generation_key)).decode(),
        rendition_key=request.rendition_key,
        sql=f"select * from public.memoji_cache where prompt_hash = '{request.generation_key}';",  # noqa: S608 - shown, not run
    )


def _say(value: object) -> str:
    return (" ".join(value) or "(none)") if isinstance(value, list) else str(value)

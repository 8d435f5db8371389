"""From a URL as received to the keys it asks for."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from copperplate.errors import InvalidModel, InvalidRequest
from copperplate.http.parameters import named
from copperplate.recipes.image import image_request
from copperplate.recipes.url import parse_picture_path, parse_picture_query

if TYPE_CHECKING:
    from copperplate.model import PictureRequest
    from copperplate.ports import Provider

# Parsing costs more than the rest of a hit. Remembered: at most 4,096 URLs of at most 1 KB, so 10 MB
# with what they were parsed to; no picture's path has more than 15 characters.
REMEMBERED = 4_096
REMEMBERED_PATH_CHARS = 15
REMEMBERED_QUERY_BYTES = 1_024


class Asked(NamedTuple):
    """What a picture's URL asks for, and the header that names the parameters it gives in vain, if it does."""

    picture_request: PictureRequest
    ignored: list[tuple[bytes, bytes]]


class PictureUrls:
    """Parses picture URLs against the models that one provider offers."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._recall = lru_cache(REMEMBERED)(self._parse)

    @property
    def default_model(self) -> str:
        """The model of a URL that names none."""
        return self._provider.models[0]

    def read(self, path: str, query: bytes) -> Asked | None:
        """What a URL asks for, from its decoded path and raw query; None if it is not a picture's.

        Raises `InvalidRequest` for a URL that was meant as a picture's but is not one.
        """
        if len(path) <= REMEMBERED_PATH_CHARS and len(query) <= REMEMBERED_QUERY_BYTES:
            return self._recall(path, query)
        return self._parse(path, query)

    def model_parameters(self, model: str) -> tuple[str, ...]:
        """The fixed settings of a model; raises `InvalidModel` where it is not offered."""
        if model not in self._provider.models:
            raise InvalidModel("This model is not offered. Offered: " + ", ".join(self._provider.models) + ".")
        return self._provider.settings(model)

    def _parse(self, path: str, query: bytes) -> Asked | None:
        parsed = parse_picture_path(path)
        if parsed is None:
            return None
        width, height, picture_format = parsed
        asked = parse_picture_query(query)
        model = asked.model or self.default_model
        picture_request = image_request(
            prompt=asked.text,
            width=width,
            height=height,
            format=picture_format,
            model=model,
            seed=asked.seed,
            settings=self.model_parameters(model),
        )
        return Asked(picture_request, named(asked.ignored))


def is_picture_path(path: str) -> bool:
    """Whether a decoded path is, or was meant as, a picture's."""
    try:
        return parse_picture_path(path) is not None
    except InvalidRequest:
        return True

"""From a URL as received to the keys it asks for, remembered."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from copperplate.errors import InvalidRequest
from copperplate.http.credentials import without_key
from copperplate.http.parameters import ignored_header
from copperplate.recipes.models import model_parameters
from copperplate.recipes.url import parse_picture_path, parse_picture_url

if TYPE_CHECKING:
    from copperplate.model import PictureRequest
    from copperplate.ports import Provider
    from copperplate.recipes.url import UrlSignature

# Parsing costs more than the rest of a hit. Remembered: at most 4,096 URLs of at most 1 KB, so 11 MB
# with what they were parsed to, and as many of those without a key once more, if they are others; no picture's path has
# more than 15 characters.
REMEMBERED = 4_096
REMEMBERED_PATH_CHARS = 15
REMEMBERED_QUERY_BYTES = 1_024


class RequestedPicture(NamedTuple):
    """What a picture's URL asks for, the header that names its ignored parameters, and its signature, not judged.

    `is_placeholder`: its placeholder alone. `is_kept`: a kept picture, which is never generated. `is_cached_only`: it
    may not be generated for this request.
    """

    picture_request: PictureRequest
    ignored: list[tuple[bytes, bytes]]
    signature: UrlSignature | None = None
    is_placeholder: bool = False
    is_kept: bool = False
    is_cached_only: bool = False


class PictureUrls:
    """Reads picture URLs against the models that one provider offers."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._recall = lru_cache(REMEMBERED)(self._parse)
        # Of URLs without a key, as received: what they ask for, if it is a picture.
        self.plain: dict[tuple[str, bytes], RequestedPicture] = {}

    def read(self, path: str, query: bytes) -> RequestedPicture | None:
        """What a URL asks for, from its decoded path and raw query; None if it is not a picture's.

        No key in it is remembered. Raises `InvalidRequest` for a URL that was meant as a picture's but is not one.
        """
        plain = without_key(query)
        if len(path) > REMEMBERED_PATH_CHARS or len(plain) > REMEMBERED_QUERY_BYTES:
            return self._parse(path, plain)
        requested = self._recall(path, plain)
        if requested is not None and not requested.is_placeholder:
            self._remember((path, plain), requested)
        return requested

    def _remember(self, url: tuple[str, bytes], requested: RequestedPicture) -> None:
        if url in self.plain:
            return
        if len(self.plain) >= REMEMBERED:  # the oldest; it comes back with its next request
            del self.plain[next(iter(self.plain))]
        self.plain[url] = requested

    def _parse(self, path: str, query: bytes) -> RequestedPicture | None:
        url = parse_picture_url(
            path,
            query,
            default_model=self._provider.models[0],
            model_parameters=partial(model_parameters, self._provider),
        )
        if url is None:
            return None
        return RequestedPicture(
            url.picture_request,
            ignored_header(url.query.ignored),
            url.query.signature,
            is_placeholder=url.query.is_placeholder,
            is_cached_only=url.query.is_cached_only,
        )


def is_picture_path(path: str) -> bool:
    """Whether a decoded path is, or was meant as, a picture's."""
    try:
        return parse_picture_path(path) is not None
    except InvalidRequest:
        return True

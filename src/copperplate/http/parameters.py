"""Unknown parameters: reads ignore them and name them in a header, changes refuse them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote_plus

from copperplate.errors import InvalidQuery, UnknownParameter
from copperplate.recipes.url import SIGNATURE_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi.dependencies.models import Dependant
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER: Final = b"x-copperplate-ignored"
# A header that any proxy passes: of more names, or longer ones, the rest is dots.
MAX_NAMES: Final = 10
MAX_NAME_CHARS: Final = 48
MAX_QUERY_BYTES: Final = 16_384
# Of a request's scope.
REFUSED: Final = "copperplate.refused_parameters"
KNOWN: Final = "copperplate.known_parameters"
# They say who asks: no answer names them, whatever its route knows.
CREDENTIALS: Final = frozenset({*SIGNATURE_NAMES, "key"})


def ignored_header(ignored: Iterable[str]) -> list[tuple[bytes, bytes]]:
    """The header that names ignored parameters but those of `CREDENTIALS`; no header where there are none."""
    shown = _listed(name for name in ignored if name not in CREDENTIALS)
    return [(HEADER, shown.encode())] if shown else []


class IgnoredParameters:
    """ASGI: names in a header of each answer the query parameters that its route does not know."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and name what its route ignored."""
        if scope["type"] != "http" or not scope["query_string"]:
            await self._app(scope, receive, send)
            return

        async def naming(message: Message) -> None:
            # "route" is set by the router. What was refused was not ignored.
            if message["type"] == "http.response.start" and "route" in scope and REFUSED not in scope:
                known = _known(scope)
                ignored = ignored_header(name for name in _names(scope) if name not in known)
                message = {**message, "headers": [*message.get("headers", ()), *ignored]}
            await send(message)

        await self._app(scope, receive, naming)


def note_known(scope: Scope, names: frozenset[str]) -> None:
    """For routes whose parameters are known while the server runs: they are known beside those that are declared."""
    scope[KNOWN] = names


def refuse_unknown(scope: Scope) -> None:
    """For routes that change something: raises `UnknownParameter` where the query holds one that is not known.

    An unknown one may ask for less to be done, as `?dry_run=1` does on a route without it. `InvalidQuery` is raised for
    a known one that is given twice, and for a query longer than `MAX_QUERY_BYTES`, which is not read.
    """
    scope[REFUSED] = True
    if len(scope["query_string"]) > MAX_QUERY_BYTES:
        raise InvalidQuery(f"The query is longer than {MAX_QUERY_BYTES:,} bytes. Nothing was done.")
    names, known = _names(scope), _known(scope)
    if unknown := [name for name in names if name not in known]:
        raise UnknownParameter(_unknown_message("parameter", unknown, known))
    _refuse_repeated(names)
    del scope[REFUSED]


def refuse_repeated(scope: Scope) -> None:
    """For routes that only read: raises `InvalidQuery` where a parameter that its route knows is given twice."""
    known = _known(scope)
    _refuse_repeated([name for name in _names(scope) if name in known])


def refuse_unknown_members(body: dict[str, Any], known: Iterable[str]) -> None:
    """The same for the members of a JSON body. Null counts as absent."""
    unknown = [name for name, value in body.items() if value is not None and name not in known]
    if unknown:
        raise UnknownParameter(_unknown_message("member of the body", unknown, known))


def known_parameters(route: Any) -> frozenset[str]:
    """The query parameters that a route declares, those of what it depends on included."""
    return frozenset(_declared(route.dependant)) if hasattr(route, "dependant") else frozenset()


def _known(scope: Scope) -> frozenset[str]:
    noted: frozenset[str] = scope.get(KNOWN, frozenset())
    return known_parameters(scope["route"]) | noted


def _refuse_repeated(names: list[str]) -> None:
    if len(names) > len(set(names)):
        raise InvalidQuery("A parameter is given twice. Give it once.")


def _declared(dependant: Dependant) -> Iterable[str]:
    yield from (parameter.alias for parameter in dependant.query_params)
    for dependency in dependant.dependencies:
        yield from _declared(dependency)


def _names(scope: Scope) -> list[str]:
    parts = scope["query_string"][:MAX_QUERY_BYTES].split(b"&")
    return [unquote_plus(part.partition(b"=")[0].decode("latin-1"), errors="replace") for part in parts if part]


def _unknown_message(what: str, unknown: Iterable[str], known: Iterable[str]) -> str:
    return f"Not known: {what} {_listed(unknown)}. Nothing was done. Known: {', '.join(sorted(known)) or 'none'}."


def _listed(names: Iterable[str]) -> str:
    """Names only, each once, percent-encoded but for letters, digits and `-._~`."""
    unique = list(dict.fromkeys(names))
    shown = [_shortened(quote(name, safe="", errors="replace")) for name in unique[:MAX_NAMES]]
    return ", ".join(shown + ["..."] * (len(unique) > MAX_NAMES))


def _shortened(name: str) -> str:
    return name if len(name) <= MAX_NAME_CHARS else f"{name[: MAX_NAME_CHARS - 3]}..."

"""`/api/generations/{key}/events` and `/api/batches/{id}/events`: progress as server-sent events (ADR 0058).

Answered before routing, as bare ASGI: a follower costs little more than its connection. Every (re)connect is told the
whole state, so that nothing is lost whoever answers, and the ids of events matter only at the end: a reconnect that
was told the final event is answered 204, after which an EventSource stops.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

from copperplate.access.owners import owner_of
from copperplate.access.visibility import may_see
from copperplate.denials import InvalidEventToken
from copperplate.errors import InvalidHost, LedgerUnavailable, MethodNotAllowed, NotFound
from copperplate.http import event_addresses, headers
from copperplate.http.answers import Answer
from copperplate.http.api import BATCH_ID
from copperplate.http.callers import caller_address, caller_of
from copperplate.http.event_sources import RETRY_MS, BatchSource, GenerationSource
from copperplate.http.followers import ABORT, Follower, Followers
from copperplate.http.generation_states import told_with_address
from copperplate.http.origin import base_url_of, has_one_host
from copperplate.http.picture_answers import error_answer, send_answer
from copperplate.http.vercel import MIN_WORK_SECONDS, work_seconds_left
from copperplate.recipes.objects import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from copperplate.access.caller import Caller
    from copperplate.http.wiring import Wiring
    from copperplate.services import Services
    from copperplate.serving.watches import Source, View, Watch, Watches
    from copperplate.settings import Settings

SUFFIX: Final = "/events"
METHODS: Final = "GET, HEAD, OPTIONS"
LAST_EVENT_ID: Final = "last_event_id"
# On Vercel work is done at the end of calls: where nobody does what is waited for, a stream ends after so long, and its
# call takes some.
IDLE_SECONDS: Final = 10.0
# A stream on Vercel ends so long before the time for that is over.
LAST_SECONDS: Final = 5.0
_PATH: Final = re.compile(r"/api/(?:generations/(?P<key>[^/]+)|batches/(?P<batch>[^/]+))/events")
_UNKNOWN: Final = (
    "There is nothing to watch here, or it is told to those alone who asked for it: they send the address that was "
    "handed out as `events`, with its token, or the credential they asked with."
)
_NEVER_KEPT: Final = [
    # What is transformed on its way may be held back there.
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
    (b"access-control-allow-origin", b"*"),
]
OF_A_STREAM: Final = [(b"content-type", b"text/event-stream; charset=utf-8"), *_NEVER_KEPT]
# To a reconnect while the ledger is away: any other status would end an EventSource for good.
COME_BACK: Final = b"retry: %d\n: the database does not answer\n\n" % RETRY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What one request wants to watch: `thing` names it and how it is told, `key` is what tokens are for."""

    thing: tuple[str, str]
    key: str
    make_source: Callable[[], Source]


class Place:
    """What one request holds while it is answered: its place among the followers, and its part of a watch."""

    __slots__ = ("_address", "_followers", "_thing", "_watches", "watch")

    def __init__(self, followers: Followers, watches: Watches) -> None:
        self._followers = followers
        self._watches = watches
        self._address: str | None = None
        self._thing: tuple[str, ...] = ()
        self.watch: Watch | None = None

    def take(self, address: str, settings: Settings) -> None:
        """Take a place. Raises `TooManyStreams` and `TooManyStreamsOfAddress`."""
        self._followers.enter(address, most=settings.max_streams, most_of_address=settings.streams_per_address)
        self._address = address

    def join(self, watched: Watched) -> Watch:
        """Join the watch of what is watched."""
        self._thing = watched.thing
        self.watch = self._watches.join(watched.thing, watched.make_source)
        return self.watch

    def give_back(self) -> None:
        """Hold nothing any more."""
        if self.watch is not None:
            self._watches.leave(self._thing, self.watch)
        if self._address is not None:
            self._followers.leave(self._address)


class Streams:
    """ASGI: answers addresses of streams, and hands everything else to `app`."""

    def __init__(self, app: ASGIApp, wiring: Wiring, followers: Followers | None = None) -> None:
        self._app = app
        self._wiring = wiring
        self.followers = Followers() if followers is None else followers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the address of a stream; else pass the request on."""
        services = self._wiring.services
        if services is None or scope["type"] != "http" or not is_stream(scope["path"]):
            await self._app(scope, receive, send)
            return
        place = Place(self.followers, services.watches)
        try:
            if (answer := await _open(place, scope, services)) is not None:
                await send_answer(send, scope, answer, None, 0.0)
            else:
                assert place.watch is not None  # noqa: S101 - it was opened
                follower = self._follower(place.watch, scope, send, services)
                await follower.run(OF_A_STREAM, receive)
                if place.watch.view is not None and not place.watch.view.is_final:
                    services.work.note_due()
        finally:
            place.give_back()

    def _follower(self, watch: Watch, scope: Scope, send: Send, services: Services) -> Follower:
        life_seconds, idle_seconds = self.followers.times.life, math.inf
        if services.settings.on_vercel:
            life_seconds = min(life_seconds, work_seconds_left() - MIN_WORK_SECONDS - LAST_SECONDS)
            idle_seconds = IDLE_SECONDS
        return Follower(
            self.followers,
            watch,
            send,
            life_seconds=life_seconds,
            idle_seconds=idle_seconds,
            abort=scope.get(ABORT),
        )


def is_stream(path: str) -> bool:
    """Whether a decoded path is that of a stream."""
    return path.endswith(SUFFIX) and _PATH.fullmatch(path) is not None


async def _open(place: Place, scope: Scope, services: Services) -> Answer | None:
    """What is answered in place of a stream; None where the stream may begin."""
    told_id = _last_event_id(scope)
    try:
        if scope["method"] == "OPTIONS":
            return Answer(204, headers.PREFLIGHT, b"", None)
        view = await _look(place, scope, services)
    except LedgerUnavailable as error:
        return error_answer(error, None) if told_id is None else Answer(200, OF_A_STREAM, COME_BACK, None)
    except Exception as error:  # noqa: BLE001 - nothing above would answer
        return error_answer(error, None)
    if view.is_final and told_id == view.last_id:
        return Answer(204, _NEVER_KEPT, b"", None)
    return Answer(200, OF_A_STREAM, b"", None) if scope["method"] == "HEAD" else None


async def _look(place: Place, scope: Scope, services: Services) -> View:
    """The first view of what is watched, which this caller may see. Raises whatever is in the way."""
    if not has_one_host(scope):
        raise InvalidHost("Send one Host header.")
    if scope["method"] not in ("GET", "HEAD"):
        raise MethodNotAllowed(METHODS)
    watched = _watched(scope, services)
    place.take(caller_address(scope, services), services.settings)
    caller = await caller_of(scope, services)
    token = event_addresses.parameter_in(scope["query_string"], event_addresses.PARAMETER)
    # Whether there is such a thing or not: a token that does not permit it tells nothing else.
    if token is not None and not await services.event_tokens.permits(watched.key, token):
        raise InvalidEventToken(event_addresses.NOT_PERMITTED)
    view = await place.join(watched).first()
    if view is None or (view.is_private and token is None and not await _is_owner(caller, view, watched, services)):
        raise NotFound(_UNKNOWN)
    return view


async def _is_owner(caller: Caller, view: View, watched: Watched, services: Services) -> bool:
    if view.owner is not None:
        return owner_of(caller) == view.owner
    assert view.kind is not None  # noqa: S101 - a batch that is private has an owner
    return await may_see(services.ledger, view.kind, watched.key, caller)


def _watched(scope: Scope, services: Services) -> Watched:
    """What an address names. Raises `NotFound` where it can be nothing, and `InvalidHost`."""
    base = base_url_of(scope, services.settings)
    path = _PATH.fullmatch(scope["path"])
    assert path is not None  # noqa: S101 - see `is_stream`
    key, batch = path["key"], path["batch"]
    if key is not None and KEY.fullmatch(key):
        tell = partial(told_with_address, scope, services)
        make_source: Callable[[], Source] = partial(GenerationSource, key, services.ledger, tell)
    elif batch is not None and BATCH_ID.fullmatch(batch):
        key, make_source = batch, partial(_batch_source, UUID(batch), services, base)
    else:
        raise NotFound(_UNKNOWN)
    return Watched(thing=(key, base), key=key, make_source=make_source)


def _batch_source(batch: UUID, services: Services, base: str) -> BatchSource:
    # Imported here: pictures are answered without these shapes.
    from copperplate.http.schemas.batches import BatchOut, MemberOut

    events = base + event_addresses.batch_events(batch)
    return BatchSource(
        batch,
        services.ledger,
        tell=lambda batch: BatchOut.of(batch, events=events).model_dump(mode="json"),
        tell_member=lambda member: MemberOut.of(member, base=base).model_dump(mode="json"),
    )


def _last_event_id(scope: Scope) -> str | None:
    """What an EventSource was told last; polyfills, which may set no header, put it into the address."""
    for name, value in scope["headers"]:
        if name == b"last-event-id":
            return str(value.decode("latin-1"))
    return event_addresses.parameter_in(scope["query_string"], LAST_EVENT_ID)

"""One server that speaks Redis' protocol, asked with little patience: it spares work, and must never make any."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import re
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis.asyncio.connection import AbstractConnection

    from copperplate.ports import Clock

logger = logging.getLogger(__name__)

Command = tuple[str | bytes | int, ...]

# All that one question may take, name look-up, TLS and password included.
PATIENCE_SECONDS: Final = 0.3
# A slower answer on an open connection is trouble, too: the database answers as fast.
SLOW_SECONDS: Final = 0.05
CONNECTIONS: Final = 16
# Between two probes: none before the first of them, then this, twice as long each time, up to this.
PAUSE_SECONDS: Final = 1.0
MAX_PAUSE_SECONDS: Final = 30.0
# Of the same warning.
LOG_SECONDS: Final = 60.0


def make_pool(url: str, *, seconds: float, connections: int = CONNECTIONS) -> BlockingConnectionPool:
    """Connections to the server at `url`, in which nothing takes longer than `seconds` and nothing is tried twice.

    Version 2 of the protocol asks for no HELLO, and with it the server cannot announce a maintenance, for which the
    client would wait ten seconds. Nothing is told of the client: that would be further round trips.
    """
    options: dict[str, Any] = {**parse_url(url)}
    options |= {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": 0,
        "protocol": 2,
        "driver_info": None,
        "decode_responses": False,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    return BlockingConnectionPool(max_connections=connections, timeout=seconds, **options)


async def run(pool: BlockingConnectionPool, commands: Sequence[Command]) -> tuple[list[Any], float]:
    """The answers to these commands, sent at once on one connection, and the seconds from there to the last of them.

    An answer may be a `ResponseError`. Raises `RedisError`, `OSError`.
    """
    with _foreign_errors():
        connection: AbstractConnection = await pool.get_connection()  # type: ignore[no-untyped-call]
        loop = asyncio.get_running_loop()
        try:
            sent_at = loop.time()
            await connection.send_packed_command(connection.pack_commands(commands))
            answers = [await _read_answer(connection) for _ in commands]
            return answers, loop.time() - sent_at
        except BaseException:
            # Answers that were not read would be taken for those to the next commands.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)


@contextlib.contextmanager
def _foreign_errors() -> Iterator[None]:
    """What a server can say that the client fails at, amid a password as well, raises `InvalidResponse`."""
    try:
        yield
    except (RedisError, OSError):
        raise
    except Exception as error:
        # Such as a length that is no number, or arrays in arrays without an end.
        raise InvalidResponse(type(error).__name__) from error


async def _read_answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except NotConnected:  # an answer, too, where the server wants a password
        raise
    except ResponseError as error:
        return error


def code_of(error: ResponseError) -> str:
    """The first word of an error as the server sent it, such as OOM, where it is one; the rest may quote a command."""
    found = re.match(r"[A-Z]{2,20}\b", error.status_code or str(error))
    return found[0] if found else "ERR"


def place_of(url: str) -> str:
    """32 hex digits that name the server and its database, and from which neither address nor password can be told."""
    parts = parse_url(url)
    named = [str(parts.get(name, "")) for name in ("host", "port", "path", "db")]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()[:32]


class Server:
    """A server with a breaker. Nothing here raises.

    A question that gets no answer in time, or a late one, opens it: until a probe beside the traffic was answered in
    time nothing is asked, and nothing waits. Probes are made where there is traffic, one at a time.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        slow_seconds: float = SLOW_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self.place = place_of(url)
        self._pool = make_pool(url, seconds=patience_seconds)
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._slow_seconds = slow_seconds
        self._pause_seconds = pause_seconds
        self._is_open = False
        self._pauses = 0.0
        self._tripped_at = -math.inf
        self._probe_at = -math.inf
        self._probe: asyncio.Task[None] | None = None
        self._waiting: set[asyncio.Timeout] = set()
        self._said_at: dict[str, float] = {}

    async def ask(self, *command: str | bytes | int) -> Any:
        """The answer to one command; None where there is none, or an error."""
        answers = await self.ask_all([command])
        return answers[0] if answers else None

    async def ask_all(self, commands: Sequence[Command]) -> list[Any] | None:
        """The answers, with None for an error among them; None where the server does not answer in time."""
        if self._is_open:
            self._probe_beside()
            return None
        try:
            async with asyncio.timeout(self._patience_seconds) as waiting:
                self._waiting.add(waiting)
                try:
                    answers, seconds = await run(self._pool, commands)
                finally:
                    self._waiting.discard(waiting)
        except (RedisError, OSError) as error:  # `TimeoutError` is an `OSError`
            self._trip(type(error).__name__)
            # Whoever asked a moment later gets no answer either.
            for each in self._waiting:
                if not each.expired():
                    each.reschedule(0)
            return None
        if seconds > self._slow_seconds:
            self._trip("slow")
        return [self._without_error(answer) for answer in answers]

    async def close(self) -> None:
        """Let go of the connections."""
        if self._probe is not None:
            self._probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probe
        with contextlib.suppress(RedisError, OSError):
            await self._pool.aclose()

    def _without_error(self, answer: Any) -> Any:
        if not isinstance(answer, ResponseError):
            return answer
        self._say(f"redis refuses a command: {code_of(answer)}")
        return None

    def _trip(self, why: str) -> None:
        now = self._clock.monotonic()
        if self._is_open:
            return
        if now - self._tripped_at > MAX_PAUSE_SECONDS:
            self._pauses = 0.0
        self._is_open, self._tripped_at = True, now
        self._put_off(now)
        self._say(
            f"redis does not answer in time ({why}): entries are read from the database; check REDIS_URL and the server"
        )

    def _put_off(self, now: float) -> None:
        """The next probe. An answer that was late by chance costs no pause, a server that is away has longer ones."""
        self._probe_at = now + self._pauses
        self._pauses = min(max(self._pause_seconds, self._pauses * 2), MAX_PAUSE_SECONDS)

    def _probe_beside(self) -> None:
        if self._probe is None and self._clock.monotonic() >= self._probe_at:
            self._probe = asyncio.create_task(self._run_probe())

    async def _run_probe(self) -> None:
        """Ask over a new connection; the old ones may be dead."""
        try:
            with contextlib.suppress(RedisError, OSError):
                await self._pool.disconnect(inuse_connections=False)
            async with asyncio.timeout(self._patience_seconds):
                _, seconds = await run(self._pool, [("PING",)])
            if seconds <= self._slow_seconds:
                self._is_open = False
                logger.info("redis answers again")
        except (RedisError, OSError):
            pass
        finally:
            if self._is_open:
                self._put_off(self._clock.monotonic())
            self._probe = None

    def _say(self, what: str) -> None:
        """A warning, at most once a minute."""
        now = self._clock.monotonic()
        if now - self._said_at.get(what, -math.inf) >= LOG_SECONDS:
            self._said_at[what] = now
            logger.warning(what)

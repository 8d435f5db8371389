"""All copies in a Redis server: counted and removed, for `copperplate purge --tier redis`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from redis.exceptions import RedisError, ResponseError

from copperplate.adapters.redis.server import code_of, make_pool, run
from copperplate.adapters.redis.values import prefix_of
from copperplate.errors import RedisUnavailable
from copperplate.strict_json import InvalidJSON, parse_object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from redis.asyncio import BlockingConnectionPool

    from copperplate.adapters.redis.server import Command

SECONDS: Final = 5.0
# Of keys that the server looks at for one answer.
PAGE_KEYS: Final = 500


@dataclass(frozen=True, slots=True)
class Found:
    """So many copies, with so many bytes of JSON."""

    entries: int = 0
    bytes: int = 0

    def __add__(self, other: Found) -> Found:
        return Found(self.entries + other.entries, self.bytes + other.bytes)


class RedisCopies:
    """The copies of one database's pictures in a server.

    All of it raises `RedisUnavailable`. The server is asked page by page, so that others are answered in between.
    """

    def __init__(self, url: str, *, database: str, seconds: float = SECONDS) -> None:
        self._pool = make_pool(url, seconds=seconds, connections=1)
        self._pattern = f"{prefix_of(database)}*"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.aclose()

    async def count(self, generation_keys: Collection[str] | None = None) -> Found:
        """Those of these generations, or all. What is written meanwhile may be counted or not, and twice."""
        found = Found()
        async for names, sizes in self._pages(generation_keys):
            found += Found(len(names), sum(sizes))
        return found

    async def remove(self, generation_keys: Collection[str] | None = None) -> Found:
        """Remove those of these generations, or all; what is written meanwhile may stay, and is not trusted."""
        found = Found()
        async for names, sizes in self._pages(generation_keys):
            if names:
                [removed] = await self._run([("UNLINK", *names)])
                found += Found(removed, sum(sizes))
        return found

    async def _pages(self, generation_keys: Collection[str] | None) -> AsyncIterator[tuple[list[bytes], list[int]]]:
        position: bytes | int = 0
        while position != b"0":
            [page] = await self._run([("SCAN", position, "MATCH", self._pattern, "COUNT", PAGE_KEYS)])
            position = page[0]
            names = sorted(set(page[1]))
            if not names:
                continue
            if generation_keys is None:
                yield names, [_size(each) for each in await self._run([("STRLEN", name) for name in names])]
                continue
            [values] = await self._run([("MGET", *names)])
            chosen = [
                (name, len(value))
                for name, value in zip(names, values, strict=True)
                if value is not None and _generation_of(value) in generation_keys
            ]
            yield [name for name, _ in chosen], [size for _, size in chosen]

    async def _run(self, commands: Sequence[Command]) -> list[Any]:
        answers, _ = await require(self._pool, commands)
        return answers


async def require(pool: BlockingConnectionPool, commands: Sequence[Command]) -> tuple[list[Any], float]:
    """The answers, and the seconds they took; raises `RedisUnavailable` for an error but that of a type among them."""
    try:
        answers, seconds = await run(pool, commands)
    except (RedisError, OSError) as error:
        raise RedisUnavailable(f"Redis does not answer ({type(error).__name__}): check REDIS_URL") from error
    for answer in answers:
        if isinstance(answer, ResponseError) and code_of(answer) != "WRONGTYPE":
            raise RedisUnavailable(f"Redis refuses a command ({code_of(answer)}): check the rights of its user")
    return answers, seconds


def _size(answer: object) -> int:
    """Of a string; what has another type is not ours, and goes all the same."""
    return answer if isinstance(answer, int) else 0


def _generation_of(value: bytes) -> object:
    try:
        return parse_object(value).get("thread_id")
    except InvalidJSON:
        return None

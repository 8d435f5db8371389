"""Turns and open originals: one picture after the other, fetched once, and nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest

from copperplate.errors import ObjectMissing, StillGenerating, TooManyWaiters
from copperplate.serving import open_originals, rendition_room
from copperplate.serving.fair_turns import FairTurns
from copperplate.serving.open_originals import OpenOriginals
from copperplate.serving.pace import LONGEST_SECONDS, RESTS, Pace
from copperplate.serving.rendition_room import RenditionRoom
from tests.support.serving_harness import CountingImages

MODEL = "copperplate/painter-1"


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Line:
    """People with turns, in the order in which they have them."""

    def __init__(self, places: int) -> None:
        self.turns = FairTurns(places)
        self.had: list[str] = []
        self.gate = asyncio.Event()

    def join(self, picture: str, name: str) -> asyncio.Task[bool]:
        async def take() -> bool:
            async with self.turns.turn(picture) as has_waited:
                self.had.append(name)
                await self.gate.wait()
                return has_waited

        return asyncio.create_task(take())


async def test_many_turns_for_one_picture_put_off_another_by_one() -> None:
    line = Line(places=1)
    joined = [line.join("flooded", f"flood {number}") for number in range(5)]
    joined.append(line.join("other", "other"))
    await settle()
    line.gate.set()
    await asyncio.gather(*joined)
    assert line.had == ["flood 0", "flood 1", "other", "flood 2", "flood 3", "flood 4"]


async def test_as_many_have_turns_as_there_are_places_and_only_others_waited() -> None:
    line = Line(places=2)
    joined = [line.join("picture", str(number)) for number in range(3)]
    await settle()
    assert line.had == ["0", "1"]
    line.gate.set()
    assert await asyncio.gather(*joined) == [False, False, True]


async def test_who_is_cancelled_leaves_the_line_or_gives_the_turn_back() -> None:
    line = Line(places=1)
    working, waiting, last = (line.join("picture", name) for name in ("working", "waiting", "last"))
    await settle()
    waiting.cancel()
    await settle()
    working.cancel()
    await settle()
    assert line.had == ["working", "last"]
    last.cancel()
    await settle()


async def test_turn_that_is_given_in_the_moment_of_leaving_is_given_back() -> None:
    lasted: list[float] = []

    def rest_after(seconds: float) -> float:
        lasted.append(seconds)
        return 0.0

    turns = FairTurns(1, rest_after=rest_after)
    gate = asyncio.Event()
    leaving: asyncio.Task[None]

    async def work() -> None:
        async with turns.turn("first"):
            await gate.wait()
        leaving.cancel()

    async def wait() -> None:
        async with turns.turn("second"):
            raise AssertionError

    first = asyncio.create_task(work())
    await asyncio.sleep(0)
    leaving = asyncio.create_task(wait())
    await asyncio.sleep(0)
    gate.set()
    await first
    with pytest.raises(asyncio.CancelledError):
        await leaving
    async with asyncio.timeout(1), turns.turn("next") as has_waited:
        assert not has_waited
    assert lasted[1] == 0


class Library:
    """Opens originals and counts."""

    def __init__(self) -> None:
        self.images = CountingImages()
        self.originals = OpenOriginals(self.images)
        self.loads = 0
        self.leave = asyncio.Event()
        self.failure: Exception | None = None

    async def load(self) -> bytes:
        self.loads += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return b"picture"

    async def use(self, path: str = "a.png") -> None:
        async with self.originals.use(path, model=MODEL, load=self.load):
            await self.leave.wait()


async def test_all_who_wait_at_the_same_time_share_one_load_and_one_open_picture() -> None:
    library = Library()
    users = [asyncio.create_task(library.use()) for _ in range(28)]
    await settle()
    late = asyncio.create_task(library.use())
    await settle()
    assert (library.loads, library.images.opened, library.images.is_open) == (1, 1, 1)
    library.leave.set()
    await asyncio.gather(*users, late)
    await settle()
    assert library.images.is_open == 0
    await library.use()
    assert library.loads == 2


async def test_a_user_that_is_cancelled_leaves_the_picture_to_the_others() -> None:
    library = Library()
    users = [asyncio.create_task(library.use()) for _ in range(3)]
    users[0].cancel()  # while it is opened
    await settle()
    users[1].cancel()
    await settle()
    assert library.images.is_open == 1
    users[2].cancel()
    await settle()
    assert library.images.is_open == 0


async def test_nobody_left_while_it_is_opened_means_it_is_closed() -> None:
    library = Library()
    user = asyncio.create_task(library.use())
    await asyncio.sleep(0)
    user.cancel()
    await settle()
    assert (library.loads, library.images.is_open) == (1, 0)


async def test_an_original_that_cannot_be_opened_is_told_to_all_and_tried_again_by_the_next() -> None:
    library = Library()
    library.failure = ObjectMissing("gone")
    results = await asyncio.gather(*(library.use() for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in results] == [ObjectMissing] * 5
    assert library.loads == 1
    library.failure = None
    library.leave.set()
    await library.use()
    assert library.loads == 2


async def test_the_line_is_full_for_one_picture_before_it_is_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_originals, "MAX_USERS_EACH", 3)
    monkeypatch.setattr(open_originals, "MAX_USERS", 5)
    library = Library()
    users = [asyncio.create_task(library.use(path)) for path in ("a", "a", "a", "b")]
    await settle()
    with pytest.raises(TooManyWaiters) as refused:
        await library.use("a")
    assert (refused.value.http_status, refused.value.retry_after_seconds) == (503, 5)
    users.append(asyncio.create_task(library.use("b")))
    await settle()
    with pytest.raises(TooManyWaiters):
        await library.use("c")
    library.leave.set()
    await asyncio.gather(*users)
    await library.use("c")


async def test_waiting_has_an_end_and_working_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendition_room, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    room, library, begun = RenditionRoom(CountingImages()), Library(), asyncio.Event()

    async def work() -> str:
        async with room.turn("a", model=MODEL, load=library.load):
            begun.set()
            await library.leave.wait()
            return "done"

    working = asyncio.create_task(work())
    await begun.wait()
    with pytest.raises(StillGenerating):
        await asyncio.wait_for(work(), 10)
    library.leave.set()
    assert await working == "done"
    assert await work() == "done"


async def test_a_place_rests_after_a_turn_and_the_answer_does_not_wait_for_that() -> None:
    turns = FairTurns(1, rest_after=lambda seconds: 0.05 if seconds >= 0 else 0.0)
    loop = asyncio.get_running_loop()
    async with turns.turn("picture"):
        pass
    ended = loop.time()
    async with turns.turn("other") as has_waited:
        assert has_waited
    assert loop.time() - ended >= 0.045


@pytest.mark.parametrize(
    ("passed", "worked", "turn", "rest"),
    [
        (1.0, 0.0, 0.02, 0.0),
        (1.0, 0.1, 0.02, 0.02 * RESTS * 0.01),
        (1.0, 1.0, 0.02, 0.02 * RESTS),
        (0.5, 0.6, 0.02, 0.02 * RESTS),  # two clocks
        (0.0, 0.0, 0.02, 0.0),
        (0.01, 0.01, 0.02, 0.0),  # the end of another turn
        (1.0, -1.0, 0.02, 0.0),  # two threads
        (100.0, 100.0, 30.0, LONGEST_SECONDS),
    ],
)
def test_rests_are_as_long_as_the_event_loop_is_busy(passed: float, worked: float, turn: float, rest: float) -> None:
    times = iter([7.0, 7.0 + passed, 8.0 + passed])
    used = iter([3.0, 3.0 + worked, 3.0 + worked])
    pace = Pace(now=lambda: next(times), worked=lambda: next(used))
    assert pace.rest_after(turn) == pytest.approx(rest)
    # What passed before that counts no more.
    assert pace.rest_after(turn) == pytest.approx(0, abs=1e-4)

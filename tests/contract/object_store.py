"""What every object store promises. A test module subclasses the suite and gives it a `store` fixture."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate.errors import ObjectConflict, ObjectMissing

if TYPE_CHECKING:
    from copperplate.ports import ObjectStore

PNG = "image/png"
MONTHS = ("2025/12", "2026/01", "2026/07")

BAD_PATHS = (
    "",
    "/",
    ".",
    "..",
    "../../etc/passwd",
    "2026/07/../../../../etc/passwd",
    f"/2026/07/{'a' * 64}.png",
    f"./2026/07/{'a' * 64}.png",
    f"2026//07/{'a' * 64}.png",
    f"2026/7/{'a' * 64}.png",
    f"2026/13/{'a' * 64}.png",
    f"2026/00/{'a' * 64}.png",
    f"2026/07/{'a' * 63}.png",
    f"2026/07/{'a' * 65}.png",
    f"2026/07/{'A' * 64}.png",
    f"2026/07/{'g' * 64}.png",
    f"2026/07/{'a' * 64}.heic",
    f"2026/07/{'a' * 64}.jpeg",
    f"2026/07/{'a' * 64}",
    f"2026/07/{'a' * 64}.png\n",
    f"2026/07/{'a' * 64}.png\x00",
    f"2026/07/.{'a' * 63}.png",
    f"2026\\07\\{'a' * 64}.png",
    f"２０２６/07/{'a' * 64}.png",
    f"2026/07/sub/{'a' * 64}.png",
)


def path_of(name: str, extension: str = "png") -> str:
    """A valid object name, another one for every `name`."""
    return f"2026/07/{hashlib.sha256(name.encode()).hexdigest()}.{extension}"


class ObjectStoreContract:
    """Only the port is used, so that any store can be held to it; each test works on paths of its own."""

    async def test_what_was_put_is_what_one_gets(self, store: ObjectStore) -> None:
        for extension, media_type in (("jpg", "image/jpeg"), ("png", PNG), ("webp", "image/webp")):
            path = path_of("roundtrip", extension)
            body = bytes(range(256)) * 700 + extension.encode()
            await store.put(path, body, media_type=media_type)
            assert await store.get(path) == body

    async def test_a_single_byte_and_megabytes_come_back_whole(self, store: ObjectStore) -> None:
        for body in (b"\x00", hashlib.shake_256(b"large").digest(3_000_000)):
            path = path_of(f"size {len(body)}")
            await store.put(path, body, media_type=PNG)
            assert await store.get(path) == body

    async def test_the_same_bytes_again_are_a_success(self, store: ObjectStore) -> None:
        path = path_of("again")
        await store.put(path, b"first", media_type=PNG)
        await store.put(path, b"first", media_type=PNG)
        assert await store.get(path) == b"first"

    async def test_other_bytes_are_refused_and_the_first_are_kept(self, store: ObjectStore) -> None:
        path = path_of("conflict")
        await store.put(path, b"first", media_type=PNG)
        for other in (b"other", b"firs", b"first and more"):
            with pytest.raises(ObjectConflict):
                await store.put(path, other, media_type=PNG)
        assert await store.get(path) == b"first"

    async def test_a_missing_object_is_told_apart(self, store: ObjectStore) -> None:
        with pytest.raises(ObjectMissing):
            await store.get(path_of("never stored"))

    async def test_existence_is_told_without_the_bytes(self, store: ObjectStore) -> None:
        path = path_of("exists")
        assert not await store.exists(path)
        await store.put(path, b"there", media_type=PNG)
        assert await store.exists(path)
        await store.remove([path])
        assert not await store.exists(path)

    async def test_a_neighbour_does_not_stand_in_for_a_missing_object(self, store: ObjectStore) -> None:
        await store.put(path_of("neighbour", "png"), b"here", media_type=PNG)
        with pytest.raises(ObjectMissing):
            await store.get(path_of("neighbour", "jpg"))

    async def test_remove_answers_removed_and_absent_paths_alike(self, store: ObjectStore) -> None:
        kept, removed, absent = path_of("kept"), path_of("removed"), path_of("absent")
        await store.put(kept, b"kept", media_type=PNG)
        await store.put(removed, b"removed", media_type=PNG)
        assert await store.remove([removed, absent]) == {removed, absent}
        assert await store.get(kept) == b"kept"
        with pytest.raises(ObjectMissing):
            await store.get(removed)

    async def test_removing_twice_or_nothing_is_fine(self, store: ObjectStore) -> None:
        path = path_of("twice")
        await store.put(path, b"bytes", media_type=PNG)
        assert await store.remove([path]) == {path}
        assert await store.remove([path, path]) == {path}
        assert await store.remove([]) == frozenset()

    async def test_a_removed_path_can_be_written_again(self, store: ObjectStore) -> None:
        path = path_of("anew")
        await store.put(path, b"old", media_type=PNG)
        await store.remove([path])
        await store.put(path, b"new", media_type=PNG)
        assert await store.get(path) == b"new"

    async def test_twenty_writers_of_the_same_bytes_all_succeed(self, store: ObjectStore) -> None:
        path = path_of("chorus")
        await asyncio.gather(*(store.put(path, b"same" * 5_000, media_type=PNG) for _ in range(20)))
        assert await store.get(path) == b"same" * 5_000

    async def test_a_reader_never_sees_half_an_object(self, store: ObjectStore) -> None:
        path, body = path_of("half"), b"whole" * 400_000
        write = asyncio.create_task(store.put(path, body, media_type=PNG))
        while not write.done():
            try:
                assert await store.get(path) == body
            except ObjectMissing:
                await asyncio.sleep(0)
        await write
        assert await store.get(path) == body

    async def test_a_month_is_listed_page_by_page_in_order(self, store: ObjectStore) -> None:
        assert await store.months() == []
        before = datetime.now(UTC) - timedelta(minutes=1)
        paths = sorted(f"{month}/{hashlib.sha256(bytes([n])).hexdigest()}.png" for month in MONTHS for n in range(5))
        for path in paths:
            await store.put(path, b"bytes", media_type=PNG)
        assert await store.months() == list(MONTHS)
        for month in MONTHS:
            found: list[str] = []
            offset: int | None = 0
            while offset is not None:
                page = await store.list_month(month, offset=offset, limit=2)
                assert len(page.objects) <= 2
                assert all(before < each.stored_at < before + timedelta(hours=1) for each in page.objects)
                found += [each.path for each in page.objects]
                offset = page.next_offset
            assert found == [path for path in paths if path.startswith(month)]

    async def test_a_month_without_objects_is_empty(self, store: ObjectStore) -> None:
        page = await store.list_month("2020/01", offset=0, limit=10)
        assert (list(page.objects), page.next_offset) == ([], None)

    @pytest.mark.parametrize("path", BAD_PATHS)
    async def test_a_bad_path_is_refused_everywhere(self, store: ObjectStore, path: str) -> None:
        with pytest.raises(ValueError, match="not an object name"):
            await store.put(path, b"bytes", media_type=PNG)
        with pytest.raises(ValueError, match="not an object name"):
            await store.get(path)
        with pytest.raises(ValueError, match="not an object name"):
            await store.remove([path])
        with pytest.raises(ValueError, match="not an object name"):
            store.public_url(path)
        with pytest.raises(ValueError, match="not an object name"):
            await store.exists(path)
        with pytest.raises(ValueError, match="not an object name"):
            await store.signed_url(path, valid_for=timedelta(minutes=10))
        with pytest.raises(ValueError, match="not an object name"):
            await store.upload_address(path, media_type=PNG)

    async def test_one_bad_path_keeps_the_good_ones_from_being_removed(self, store: ObjectStore) -> None:
        path = path_of("good beside bad")
        await store.put(path, b"bytes", media_type=PNG)
        with pytest.raises(ValueError, match="not an object name"):
            await store.remove([path, "../x"])
        assert await store.get(path) == b"bytes"

    async def test_an_empty_body_is_refused(self, store: ObjectStore) -> None:
        path = path_of("empty")
        with pytest.raises(ValueError, match="empty"):
            await store.put(path, b"", media_type=PNG)
        with pytest.raises(ObjectMissing):
            await store.get(path)

    async def test_the_public_address_is_one_or_none(self, store: ObjectStore) -> None:
        url = store.public_url(path_of("address"))
        assert url is None or url.startswith(("http://", "https://"))
        assert store.bucket

    async def test_a_signed_address_is_absolute_or_none(self, store: ObjectStore) -> None:
        path = path_of("signed")
        await store.put(path, b"bytes", media_type=PNG)
        url = await store.signed_url(path, valid_for=timedelta(minutes=10))
        assert url is None or url.startswith(("http://", "https://"))

    async def test_addresses_are_signed_with_one_secret_of_32_bytes(self, store: ObjectStore) -> None:
        secret = await store.address_secret()
        assert len(secret) == 32
        assert await store.address_secret() == secret


class ExclusiveStoreContract(ObjectStoreContract):
    """For stores that look and write in one step. Supabase Storage does not."""

    async def test_of_twenty_writers_of_other_bytes_exactly_one_wins(self, store: ObjectStore) -> None:
        path = path_of("race")
        bodies = [f"writer {number}".encode() * 5_000 for number in range(20)]
        ends = await asyncio.gather(
            *(store.put(path, body, media_type=PNG) for body in bodies),
            return_exceptions=True,
        )
        winners = [body for body, end in zip(bodies, ends, strict=True) if end is None]
        assert len(winners) == 1
        assert sum(isinstance(end, ObjectConflict) for end in ends) == 19
        assert await store.get(path) == winners[0]

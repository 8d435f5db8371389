"""What every ledger promises of placeholders: kept with the original, told of every form, filled in later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from copperplate.ledger_answers import Hit
from tests.contract.ledger.harness import WEBP, complete, lead, peek, record
from tests.support.pictures import PLACEHOLDER, picture_request, upload

if TYPE_CHECKING:
    from copperplate.model import OriginalUpload
    from tests.contract.ledger.harness import LedgerHarness


class PlaceholderContract:
    """A picture without one is found, once, and in order."""

    async def test_what_verification_found_is_told_of_every_form(self, harness: LedgerHarness) -> None:
        ledger, asked = harness.ledger, picture_request()
        held = await lead(ledger, asked)
        key, fence = asked.generation_key, held.fence
        stored: OriginalUpload = replace(upload("original"), placeholder=PLACEHOLDER)
        assert await ledger.begin_submit(key, fence, submit_no=1, provider="painter")
        assert await ledger.intend_upload(key, fence, stored, usage={})
        original = await ledger.complete(key, fence, stored, url=None)
        assert original.placeholder == PLACEHOLDER
        made = await record(ledger, original, asked, "jpg")
        assert made is not None
        assert made.placeholder == PLACEHOLDER
        assert await peek(ledger, asked) == Hit(entry=made)
        assert await ledger.count_without_placeholder() == 0

    async def test_one_that_was_lacking_is_noted_once_on_every_form(self, harness: LedgerHarness) -> None:
        ledger, asked = harness.ledger, picture_request()
        original = await complete(ledger, asked)
        await record(ledger, original, asked, "jpg")
        assert (original.placeholder, await ledger.count_without_placeholder()) == (None, 1)
        assert await ledger.originals_without_placeholder(10) == [original]
        assert await ledger.set_placeholder(asked.generation_key, PLACEHOLDER)
        for picture_format in (asked.rendition.format, WEBP):  # the rendition, and the original
            hit = await peek(ledger, picture_request(picture_format=picture_format))
            assert isinstance(hit, Hit)
            assert hit.entry.placeholder == PLACEHOLDER
        assert (await ledger.count_without_placeholder(), await ledger.originals_without_placeholder(10)) == (0, [])
        assert not await ledger.set_placeholder(asked.generation_key, replace(PLACEHOLDER, color="#000000"))
        assert not await ledger.set_placeholder("0" * 64, PLACEHOLDER)

    async def test_one_that_cannot_be_made_is_not_looked_for_again(self, harness: LedgerHarness) -> None:
        ledger, asked = harness.ledger, picture_request()
        await complete(ledger, asked)
        assert await ledger.set_placeholder(asked.generation_key, None)
        assert (await ledger.count_without_placeholder(), await ledger.originals_without_placeholder(10)) == (0, [])
        hit = await peek(ledger, asked)
        assert isinstance(hit, Hit)
        assert hit.entry.placeholder is None
        assert (await ledger.describe_kept(asked.generation_key)).placeholder is None

    async def test_they_are_found_by_their_keys_from_any_place_on(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        for each in range(4):
            await complete(ledger, picture_request(f"picture {each}"), f"original {each}")
        keys = [entry.key for entry in await ledger.originals_without_placeholder(10)]
        assert (len(keys), keys) == (4, sorted(keys))
        assert [entry.key for entry in await ledger.originals_without_placeholder(2, after=keys[0])] == keys[1:3]
        assert await ledger.originals_without_placeholder(10, after=keys[3]) == []

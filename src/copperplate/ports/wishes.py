"""Wishes: what was promised to be made although nobody waits, kept in the ledger."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

    from copperplate.wishes import Batch, Canceled, GenerationState, Member, NewBatch, NewWish, Settlement, Wish


class Wishes(Protocol):
    """Wishes, one by one and in batches. Every method is one transaction; all raise what `Ledger` raises."""

    async def make_wish(self, wish: NewWish, *, held_for: timedelta) -> int:
        """Keep a wish, and answer its id. For `held_for` nobody else takes it: its maker begins at once.

        An open wish of the same owner for the same generation, outside of batches, is that wish, promised anew. Raises
        `TooManyOpenWishes` where `MAX_OPEN_WISHES` of an owner are open; the service's own may have any number.
        """

    async def take_wishes(self, *, in_flight: int, held_for: timedelta, limit: int | None = None) -> Sequence[Wish]:
        """Take due wishes, the most urgent first, so that at most `in_flight` of those taken are in flight.

        Of one priority what was paid for comes first: whoever collects it pays nothing more, and until then it is one
        more at the provider. Then come wishes outside of batches, then members; of those what waits longest. No more
        than `limit` are taken, however few are in flight.

        A wish is in flight while it is held, or its generation is under a live lease; it is due while it is open, not
        in flight, and the pause of its last try is over. Any number of callers may take at once: none is taken twice
        within `held_for`. All processes together keep to `in_flight`; wishes for one generation count as one, and what
        callers' own calls make does not count. A wish that stayed open for a day fails as `abandoned`, unless its
        picture was made by somebody else. One of an API key that is revoked or has expired fails as `unauthorized`,
        unless it is paid.
        """

    async def settle_wish(self, wish: int, settlement: Settlement) -> bool:
        """End a wish, or put it back; False where it has ended before."""

    async def is_work_due(self) -> bool:
        """Whether a wish is due."""

    async def pending_prompts(self, limit: int) -> Sequence[tuple[str, str]]:
        """Generation key and prompt (or kind, where there is no prompt) of open wishes, the most urgent first."""

    async def create_batch(self, batch: NewBatch, *, held_for: timedelta = timedelta(0)) -> UUID | None:
        """Keep a batch; its id. Members that are stored already are completed at once.

        For `held_for` nobody takes the others: its maker begins at once, and settles them.

        Repeated by its owner under the same idempotency key within a day it is the same batch, and nothing is
        written; None where that key stands for something else. Raises `TooManyOpenWishes` as `make_wish` does.
        """

    async def find_batch(self, batch: UUID) -> Batch | None:
        """A batch as it is now; None where there is none. Members whose generation ended otherwise count as ended."""

    async def batch_members(self, batch: UUID, *, after: int = -1, limit: int = 100) -> Sequence[Member]:
        """Its members in their order, those with a position above `after`."""

    async def cancel_batch(self, batch: UUID) -> Canceled | None:
        """Withdraw every member that is not in flight and not paid; None where there is no such batch.

        A member in flight goes on; put back, or with its hold over, and not paid, it is withdrawn then. A batch that
        has ended stays as it is; repeated it withdraws and saves nothing more.
        """

    async def generation_state(self, generation_key: str, *, with_usual_time: bool = False) -> GenerationState | None:
        """The state of a generation, also of one that an open wish waits for; None where neither is known.

        The usual time is computed from many rows: ask for it once, and not with each of many looks.
        """

    async def stored_keys(self, generation_keys: Collection[str]) -> frozenset[str]:
        """Those of the generations whose original is stored."""

    async def popular_recipes(self, *, days: int, limit: int) -> Sequence[dict[str, object]]:
        """Canonical recipes of what was asked for most in the last days, the most asked first."""

    async def begin_watch(self, subject: str, token_digest: str, valid_for: timedelta) -> None:
        """Keep the digest of a token that permits to watch what is private for so long.

        `subject` is the key of a generation, or the id of a batch.
        """

    async def may_watch(self, subject: str, token_digest: str) -> bool:
        """Whether a token of this digest permits to watch this generation or batch now."""

"""Errors of batches.

InvalidRequest
├── InvalidBatch              no items, too many, or a member of the wrong type; 400
└── InvalidItems              some items are faulty: which ones, and why; 400
Forbidden
├── BatchNeedsName            a batch is for API keys, and for sign-ins with a name; 403
├── WarmingNeedsKey           warming is for API keys; 403
├── MemojiNeedsSignIn         memoji are paid by credits, which people have; 403
└── NotOwner                  somebody else asked for this batch; 403
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.denials import Forbidden
from copperplate.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.errors import CopperplateError


class InvalidBatch(InvalidRequest, code="invalid_batch", title="This is not a batch"):
    """The batch has no items, too many, or a member that cannot be read."""


class InvalidItems(InvalidRequest, code="invalid_items", title="Some items of the batch are faulty"):
    """Some items are faulty, and nothing was done. `faults` are their indexes, from 0, each with its error."""

    def __init__(self, faults: Sequence[tuple[int, CopperplateError]], *, has_more: bool) -> None:
        count = f"At least {len(faults)}" if has_more else f"{len(faults)}"
        super().__init__(f"{count} of the items cannot be read: `items` has the index and the fault of each.")
        self.faults = tuple(faults)

    @property
    def members(self) -> Mapping[str, object]:
        """What a problem document tells beside its code."""
        return {
            "items": [{"index": index, "code": error.code, "detail": str(error)} for index, error in self.faults],
        }


class BatchNeedsName(Forbidden, code="batch_needs_name", title="A batch needs an API key or a sign-in with a name"):
    """Many pictures at once are for callers who can be named: this one signed in without saying who they are."""

    def __init__(self) -> None:
        super().__init__("Send an API key, or sign in with a name. One picture at a time is for everybody.")


class WarmingNeedsKey(Forbidden, code="warming_needs_key", title="Warming needs an API key"):
    """Warming is spending ahead of need: whoever was given a key for it decides that, and nobody else."""

    def __init__(self) -> None:
        super().__init__("Send an API key with the scope `generate`: a sign-in warms nothing, a newer one neither.")


class MemojiNeedsSignIn(Forbidden, code="memoji_needs_sign_in", title="A memoji needs a sign-in"):
    """A memoji is paid by a credit of somebody who is signed in, and an API key has none."""

    def __init__(self) -> None:
        super().__init__("Send the access token of somebody who is signed in: an API key has no credits.")


class NotOwner(Forbidden, code="not_owner", title="Somebody else asked for this batch"):
    """Only who asked for a batch may cancel it."""

    def __init__(self) -> None:
        super().__init__("Only who asked for a batch may cancel it.")

"""Who owns what somebody asks for, by the names that budgets give to payers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.budgets import ANONYMOUS, OWNER
from copperplate.denials import BatchNeedsName
from copperplate.errors import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable

    from copperplate.access.caller import Caller
    from copperplate.errors import CopperplateError
    from copperplate.recipes.url import UrlSignature


def named_owner(
    caller: Caller, *, what: str = "A batch", denial: Callable[[], CopperplateError] = BatchNeedsName
) -> str:
    """Who asks for `what` needs a name: an API key, or a person signed in with one. What they may is the gate's.

    Raises `Unauthorized` for a caller nobody knows, `denial` for one who signed in without a name.
    """
    if (owner := owner_of(caller)) is not None:
        return owner
    if caller.is_unknown:
        raise Unauthorized(f"{what} needs an API key, or a sign-in with a name.")
    raise denial()


def owner_of(caller: Caller) -> str | None:
    """The owner that a caller with a name is; None for everybody else. A key counts before a sign-in.

    The deployment's owner has everything anyway: nothing is written down as theirs.
    """
    has_name = caller.key is not None or (caller.user is not None and not caller.user.is_anonymous)
    return asker_of(caller) if has_name else None


def asker_of(caller: Caller, signature: UrlSignature | None = None) -> str:
    """Whose wish it is, as budgets name payers. What is kept names no address: strangers are all one."""
    if caller.key is not None:
        return f"key:{caller.key.id}"
    if caller.user is not None:
        return f"user:{caller.user.id}"
    if caller.is_owner:
        return OWNER
    return ANONYMOUS if signature is None else f"link:{signature.key_id}"

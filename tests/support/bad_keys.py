"""API keys and sign-ins that are none: of every wrong form, in every place, ended, without scopes or without money."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from copperplate.adapters.memory.clock import START
from copperplate.adapters.supabase.users import LOCAL_ISSUER
from copperplate.api_keys import Scope
from copperplate.ports.access import NewApiKey
from tests.support.bad_callers import PICTURE, SEED, Ask, Case
from tests.support.tokens import MISSING, Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.ports import ApiKeys
    from tests.support.bad_callers import Headers

BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
JWT_SECRET: Final = "the-secret-of-whoever-signs-in-0123456789"
SIGN_INS: Final = {"SUPABASE_JWT_SECRET": JWT_SECRET}
TOKENS: Final = Tokens(LOCAL_ISSUER, START)


def _text(name: str) -> str:
    """A key of the documented form, the same for the same name."""
    rng = random.Random(name)
    text = "cp_" + "".join(rng.choices(BASE62, k=8 + 43))
    number, check = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        check = BASE62[digit] + check
    return text + check


@dataclass(frozen=True, kw_only=True)
class Known:
    """A key that the server has."""

    name: str
    scopes: tuple[Scope, ...] = (Scope.GENERATE,)
    is_visible: bool = False
    cap_micro_usd: int | None = None
    cap_pictures: int | None = None
    end: str = ""  # revoked, expired, rotated

    @property
    def text(self) -> str:
        """What its owner sends."""
        return _text(self.name)

    async def put(self, keys: ApiKeys) -> None:
        """Have the server know it; an expired one has a second left."""
        prefix = self.text[3:11]
        new = NewApiKey(
            prefix=prefix,
            digest=sha256(self.text.encode()).hexdigest(),
            name=self.name,
            tier="standard",
            scopes=frozenset(self.scopes),
            is_visible=self.is_visible,
            expires_in=timedelta(seconds=1) if self.end == "expired" else None,
            cap_micro_usd=self.cap_micro_usd,
            cap_pictures=self.cap_pictures,
        )
        await keys.create_api_key(new)
        if self.end == "revoked":
            await keys.revoke_api_key(prefix)
        elif self.end == "rotated":
            await keys.rotate_api_key(prefix, sha256(_text("the next").encode()).hexdigest(), timedelta(0))


GOOD: Final = Known(name="good")
KNOWN: Final = {
    key.name: key
    for key in (
        GOOD,
        Known(name="purge alone", scopes=(Scope.PURGE,)),
        Known(name="admin alone", scopes=(Scope.ADMIN,)),
        Known(name="purge and admin", scopes=(Scope.PURGE, Scope.ADMIN)),
        Known(name="visible", is_visible=True),
        Known(name="visible with a cap", is_visible=True, cap_pictures=1),
        Known(name="no dollar", cap_micro_usd=0),
        Known(name="no picture", cap_pictures=0),
        Known(name="too little", cap_micro_usd=2_999),
        Known(name="revoked", end="revoked"),
        Known(name="expired", end="expired"),
        Known(name="rotated", end="rotated"),
    )
}


def _wrong_texts(rng: random.Random) -> Iterator[tuple[str, str]]:
    """What begins as a key and is none; every character is one that a header may hold."""
    good = GOOD.text
    for length in (3, 4, 10, 11, 12, 30, 54, 58, 59):
        yield f"cut to {length}", good[:length]
    for _ in range(12):
        place = rng.randrange(3, 60)
        other = rng.choice([each for each in BASE62 if each != good[place]])
        yield f"character {place} replaced by {other}", good[:place] + other + good[place + 1 :]
    for _ in range(4):
        first = rng.randrange(3, 59)
        if good[first] != good[first + 1]:
            swapped = good[:first] + good[first + 1] + good[first] + good[first + 2 :]
            yield f"characters {first} and {first + 1} swapped", swapped
    for number in range(6):
        yield f"whole and unknown {number}", _text(f"unknown {number}")
    yield from (
        ("one character more", good + "0"),
        ("twice", good * 2),
        ("twice, a comma between", f"{good},{good}"),
        ("of a good prefix", good[:11] + _text("another")[11:]),
        ("marked CP_", "CP_" + good[3:]),
        ("marked Cp_", "Cp_" + good[3:]),
        ("in upper case", good.upper()),
        ("in quotes", f'"{good}"'),
        ("in brackets", f"<{good}>"),
        ("a space inside", good[:20] + " " + good[20:]),
        ("a dot inside", good[:20] + "." + good[20:]),
        ("as a token", f"{good[:20]}.{good[20:40]}.{good[40:]}"),
        ("of 60 zeros", "cp_" + "0" * 57),
        ("of 100,000 characters", "cp_" + "a" * 100_000),
        ("no ASCII", good[:59] + "\xe9"),
        ("cp_ alone", "cp_"),
        ("sql", "cp_' or true --"),
        ("a pattern", "cp_%"),
        ("its digest", "cp_" + sha256(good.encode()).hexdigest()),
    )


def _in_header(text: str, place: str) -> Headers:
    return (("authorization", f"Bearer {text}"),) if place == "bearer" else (("x-api-key", text),)


def _case(name: str, ask: Ask, code: str | None, status: int, *, calls: int = 0, **environ: str) -> Case:
    return Case(
        family="key",
        name=name,
        ask=ask,
        code=code,
        status=status,
        calls=calls,
        has_keys=True,
        environ={**SIGN_INS, **environ},
    )


def _wrong_keys() -> Iterator[Case]:
    """Refused on hits too: who sends a key believes to be known."""
    rng = random.Random(SEED)
    for number, (name, text) in enumerate(_wrong_texts(rng)):
        for place in ("bearer", "x-api-key"):
            missed = _case(f"{name}, {place}", Ask(headers=_in_header(text, place)), "unauthorized", 401)
            yield missed
            if number % 3 == 0:
                yield replace(missed, name=f"{missed.name}, kept", is_kept=True)
                ask = replace(missed.ask, method="HEAD")
                yield replace(missed, name=f"{missed.name}, HEAD", ask=ask)
    for name, value in (("empty", ""), ("a space", "%20"), ("cut", GOOD.text[:30]), ("twice encoded", "%2563p_")):
        yield _case(f"in the address, {name}", Ask(target=f"{PICTURE}&key={value}"), "unauthorized", 401)
    yield _case("in the address, no value", Ask(target=f"{PICTURE}&key"), "unauthorized", 401)
    yield _case("in the address, its name escaped", Ask(target=f"{PICTURE}&%6Bey=x"), "unauthorized", 401)
    yield _case("in the address, a secret one", Ask(target=f"{PICTURE}&key={GOOD.text}"), "unauthorized", 401)
    yield _case("in the address, twice", Ask(target=f"{PICTURE}&key={GOOD.text}&key=cp_"), "unauthorized", 401)
    for value in ("", " ", "null", "undefined", "x"):
        yield _case(f"x-api-key {value!r}", Ask(headers=(("x-api-key", value),)), "unauthorized", 401)


def _misplaced() -> Iterator[Case]:
    good, other = GOOD.text, KNOWN["visible with a cap"].text
    for name, headers in {
        "Basic": (("authorization", f"Basic {good}"),),
        "Token": (("authorization", f"Token {good}"),),
        "no scheme": (("authorization", good),),
        "two keys": (("authorization", f"Bearer {good}"), ("x-api-key", other)),
        "two bearers": (("authorization", f"Bearer {good}"), ("authorization", f"Bearer {other}")),
        "a key and a sign-in": (("x-api-key", good), ("authorization", f"Bearer {_signed_in()}")),
        "a key and a forged sign-in": (("x-api-key", good), ("authorization", "Bearer a.b.c")),
    }.items():
        yield _case(f"misplaced: {name}", Ask(headers=headers), "unauthorized", 401)


def _ended_and_poor() -> Iterator[Case]:
    for key in KNOWN.values():
        for place in ("bearer", "x-api-key"):
            ask = Ask(headers=_in_header(key.text, place))
            missed = _case(f"{key.name}, {place}", ask, None, 200, calls=1)
            if key.end:
                yield replace(missed, code="unauthorized", status=401, calls=0)
                yield replace(
                    missed, name=f"{missed.name}, kept", code="unauthorized", status=401, calls=0, is_kept=True
                )
                continue
            yield replace(missed, name=f"{missed.name}, kept", calls=0, is_kept=True)
            if Scope.GENERATE not in key.scopes:
                yield replace(missed, code="missing_scope", status=403, calls=0)
            elif key.cap_pictures or key is GOOD:
                yield missed
                keys_only = {**SIGN_INS, "COPPERPLATE_ACCESS": "keys"}
                yield replace(missed, name=f"{missed.name}, keys only", environ=keys_only)
            else:  # nothing set aside, or too little
                yield replace(missed, code="budget_exhausted", status=402, calls=0)
    visible = KNOWN["visible with a cap"].text
    yield _case("visible, in the address", Ask(target=f"{PICTURE}&key={visible}"), None, 200, calls=1)
    poor = KNOWN["visible"].text
    yield _case("visible without a cap, in the address", Ask(target=f"{PICTURE}&key={poor}"), "budget_exhausted", 402)
    # A cap in pictures is used up by the key's own pictures alone.
    first = Ask(target="/64x64.png?text=the+first+of+a+key", headers=_in_header(visible, "bearer"))
    again = _case("a cap of one picture", Ask(headers=first.headers), "budget_exhausted", 402, calls=1)
    yield replace(again, before=(first,))


def _signed_in(**changes: Any) -> str:
    return TOKENS.hs(secret=JWT_SECRET.encode(), **changes)


def _sign_ins() -> Iterator[Case]:
    """Bearers of three parts: judged, and never taken for nobody's."""
    head, claims, signature = _signed_in().split(".")
    forged = {
        "a.b.c": "a.b.c",
        "empty parts": "..",
        "another secret": TOKENS.hs(secret=b"x" * 48),
        "no signature": f"{head}.{claims}.",
        "cut": f"{head}.{claims}.{signature[:-1]}",
        "alg none": f"eyJhbGciOiJub25lIn0.{claims}.",
        "expired": _signed_in(exp=TOKENS.now - 60),
        "not yet": _signed_in(nbf=TOKENS.now + 3_600),
        "no expiry": _signed_in(exp=MISSING),
        "service_role": _signed_in(role="service_role"),
        "another project": _signed_in(iss="https://theirs.supabase.co/auth/v1"),
        "another audience": _signed_in(aud="anon"),
        "nobody": _signed_in(sub=MISSING),
        "claims of another": f"{head}.{_signed_in(sub='me').split('.')[1]}.{signature}",
        "long": _signed_in(user_metadata={"x": "y" * 100_000}),
    }
    for name, token in forged.items():
        ask = Ask(headers=(("authorization", f"Bearer {token}"),))
        missed = _case(f"sign-in: {name}", ask, "unauthorized", 401)
        yield missed
        yield replace(missed, name=f"{missed.name}, kept", is_kept=True)
    good = Ask(headers=(("authorization", f"Bearer {_signed_in()}"),))
    yield _case("sign-in: good", good, None, 200, calls=1)
    yield _case("sign-in: good, keys only", good, None, 200, calls=1, COPPERPLATE_ACCESS="keys")
    yield _case("sign-in: no dollar for users", good, "budget_exhausted", 402, COPPERPLATE_USER_BUDGET_USD="0")
    yield _case("sign-in: no dollar for anybody", good, "budget_exhausted", 402, COPPERPLATE_DAILY_BUDGET_USD="0")
    unnamed = Ask(headers=(("authorization", f"Bearer {_signed_in(is_anonymous=True)}"),))
    yield _case(
        "sign-in: anonymous, no dollar for strangers",
        unnamed,
        "budget_exhausted",
        402,
        COPPERPLATE_ANONYMOUS_BUDGET_USD="0",
    )


def key_cases() -> Iterator[Case]:
    """The whole table."""
    yield from _wrong_keys()
    yield from _misplaced()
    yield from _ended_and_poor()
    yield from _sign_ins()

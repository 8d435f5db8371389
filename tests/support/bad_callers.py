"""Callers who want a picture that nobody allowed them: every family with a seeded generator, each with what is due.

A case is one request, after requests that prepare it, to a server whose provider costs 3,000 millionths of a dollar a
picture. `calls` is how many of those it may cause, the requests before it included.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from copperplate.access.signatures import SigningKey, sign_url
from copperplate.adapters.memory.clock import START

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    Headers = tuple[tuple[str, str], ...]

SEED: Final = 20261130
PICTURE: Final = "/64x64.png?text=the+zebra+behind+the+wall"
MODEL: Final = "copperplate/painter-1"
KEY: Final = SigningKey(key_id="now", secret="the-secret-of-links-of-today-0123456789")
OLD: Final = SigningKey(key_id="old", secret="the-secret-of-links-of-before-012345678")
FOREIGN: Final = SigningKey(key_id="now", secret="the-secret-of-another-server-0123456789")
KEYS: Final = f"{KEY.key_id}:{KEY.secret},{OLD.key_id}:{OLD.secret}"
SOON: Final = START + timedelta(hours=2)
# One address has a tenth of 0.03 dollars, which is one picture.
ONE_EACH: Final[dict[str, str]] = {"COPPERPLATE_ANONYMOUS_BUDGET_USD": "0.03"}
PEER: Final = "203.0.113.9"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request; `peer` is who is connected."""

    target: str = PICTURE
    headers: Headers = ()
    peer: str = PEER
    method: str = "GET"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A request and what it is answered: `code` of the error, None for the picture."""

    family: str
    name: str
    ask: Ask
    code: str | None
    status: int
    calls: int = 0
    before: tuple[Ask, ...] = ()
    is_kept: bool = False  # whether the picture was made before, by the owner
    has_keys: bool = False  # whether the server knows the keys of `bad_keys`
    environ: dict[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.family}: {self.name}"


def signed(target: str = PICTURE, key: SigningKey = KEY, until: datetime = SOON) -> str:
    """A signed URL, as an operator hands it out."""
    return sign_url(target, key=key, expires_at=until, default_model=MODEL, model_parameters=lambda _: ()).url


def with_signature(*, kid: str, exp: str, sig: str, target: str = PICTURE) -> str:
    """A URL with whatever for a signature."""
    return f"{target}&kid={kid}&exp={exp}&sig={sig}"


def parts(url: str) -> tuple[str, str, str]:
    """The signature's parameters: kid, exp, sig."""
    values = dict(part.split("=", 1) for part in url.partition("?")[2].split("&"))
    return values["kid"], values["exp"], values["sig"]


# --- signatures ----------------------------------------------------------------------------------

ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _forged(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Names and URLs whose signature is not one of ours for this picture."""
    kid, exp, sig = parts(signed())
    for _ in range(10):
        place = rng.randrange(43)
        other = rng.choice([each for each in ALPHABET if each != sig[place]])
        yield (
            f"character {place} replaced by {other}",
            with_signature(kid=kid, exp=exp, sig=sig[:place] + other + sig[place + 1 :]),
        )
    for length in (0, 1, 8, 21, 22, 32, 41, 42):
        yield f"cut to {length}", with_signature(kid=kid, exp=exp, sig=sig[:length])
    for _ in range(6):
        first, second = sorted(rng.sample(range(43), 2))
        swapped = [*sig]
        swapped[first], swapped[second] = swapped[second], swapped[first]
        if swapped != [*sig]:
            yield f"characters {first} and {second} swapped", with_signature(kid=kid, exp=exp, sig="".join(swapped))
    for number in range(6):
        yield f"guessed {number}", with_signature(kid=kid, exp=exp, sig="".join(rng.choices(ALPHABET, k=43)))
    for bits in (1, 2, 3):  # base64 has four spellings of the last byte
        last = ALPHABET[ALPHABET.index(sig[-1]) ^ bits]
        yield f"with spare bits {bits}", with_signature(kid=kid, exp=exp, sig=sig[:-1] + last)
    yield from (
        ("reversed", with_signature(kid=kid, exp=exp, sig=sig[::-1])),
        ("twice", with_signature(kid=kid, exp=exp, sig=sig * 2)),
        ("padded", with_signature(kid=kid, exp=exp, sig=sig + "%3D")),
        ("in lower case", with_signature(kid=kid, exp=exp, sig=sig.lower())),
        ("in hexadecimal", with_signature(kid=kid, exp=exp, sig=sig.encode().hex())),
        ("of the standard alphabet", with_signature(kid=kid, exp=exp, sig="%2B%2F" + sig[2:])),
        ("encoded twice", with_signature(kid=kid, exp=exp, sig="".join(f"%25{ord(each):02X}" for each in sig))),
        ("in fullwidth letters", with_signature(kid=kid, exp=exp, sig="%EF%BC%A1" + sig[1:])),
        ("with a line break", with_signature(kid=kid, exp=exp, sig=sig + "%0A")),
        ("with a zero byte", with_signature(kid=kid, exp=exp, sig=sig[:42] + "%00")),
        ("with spaces", with_signature(kid=kid, exp=exp, sig=f"+{sig}+")),
        ("of 16,000 characters", with_signature(kid=kid, exp=exp, sig="A" * 16_000)),
        ("of another server", signed(key=FOREIGN)),
        ("of the other key under this id", with_signature(kid=OLD.key_id, exp=exp, sig=sig)),
    )


def _odd_expiries(rng: random.Random) -> Iterator[tuple[str, str]]:
    kid, exp, sig = parts(signed())
    changed = [str(int(exp) + step) for step in (-3_600, 3_600, 1, -1, 60, 86_400 * 365)]
    written = ["", "0", "-" + exp, "+" + exp, "%2B" + exp, "0" + exp, exp + ".0", exp + "e0", hex(int(exp)), "never"]
    beyond = ["9" * 12, str(2**63), str(2**64), "9" * 5_000, "inf", "nan", "1_767_232_800", "%D9%A1%D9%A2", exp + "%20"]
    for value in (*changed, *written, *beyond, str(rng.randrange(10**10))):
        yield f"exp {value[:24]}", with_signature(kid=kid, exp=value, sig=sig)
    for value in ("", "NOW", "now%20", "%00", "nope", "..", "*", "now,old", "n" * 10_000, "%EF%BD%8Eow", "1", "sig"):
        yield f"kid {value[:24]}", with_signature(kid=value, exp=exp, sig=sig)
    for name in ("kid", "exp", "sig"):
        kept = "&".join(f"{each}={value}" for each, value in (("kid", kid), ("exp", exp), ("sig", sig)) if each != name)
        yield f"without {name}", f"{PICTURE}&{kept}"
        yield f"{name} alone", f"{PICTURE}&{name}=" + {"kid": kid, "exp": exp, "sig": sig}[name]


def _replayed() -> Iterator[tuple[str, str]]:
    """The signature of one picture on another's URL."""
    kid, exp, sig = parts(signed())
    for name, target in {
        "another text": "/64x64.png?text=another+zebra",
        "one letter more": PICTURE + "s",
        "another case": PICTURE.replace("zebra", "Zebra"),
        "another size": PICTURE.replace("64x64", "64x72"),
        "sides swapped": PICTURE.replace("64x64", "72x64"),
        "a seed": PICTURE + "&seed=1",
        "another seed": PICTURE + "&seed=18446744073709551615",
    }.items():
        yield name, with_signature(kid=kid, exp=exp, sig=sig, target=target)


def _expired() -> Iterator[tuple[str, str]]:
    for hours in (0, 1, 24, 24 * 365):
        yield f"{hours} h ago", signed(until=START - timedelta(hours=hours))
        yield f"{hours} h ago, the older key", signed(key=OLD, until=START - timedelta(hours=hours))


def _twice() -> Iterator[tuple[str, str]]:
    """Addresses that say a parameter of the signature twice, or not in UTF-8."""
    url = signed()
    for name, value in zip(("kid", "exp", "sig"), parts(url), strict=True):
        yield f"{name} twice", f"{url}&{name}={value}"
        yield f"{name} no UTF-8", f"{url.replace(f'{name}={value}', f'{name}=%ff')}"


def signature_cases() -> Iterator[Case]:
    """Signatures that are none, over all modes of access, at a miss and at a hit."""
    rng = random.Random(SEED)
    bad = [("forged", *each, "invalid_signature") for each in (*_forged(rng), *_odd_expiries(rng))]
    bad += [("replayed", *each, "invalid_signature") for each in _replayed()]
    bad += [("expired", *each, "signature_expired") for each in _expired()]
    for number, (family, name, target, code) in enumerate(bad):
        access = ("open", "signed", "keys")[number % 3]
        environ = {"COPPERPLATE_ACCESS": access, "COPPERPLATE_URL_SIGNING_KEYS": KEYS}
        method = rng.choice(("GET", "GET", "GET", "HEAD"))
        missed = Case(
            family=f"signature {family}, {access}",
            name=name,
            ask=Ask(target=target),
            code=code,
            status=403,
            environ=environ,
        )
        yield missed
        if family != "replayed" and rng.random() < 0.5:  # stored pictures are everybody's, whatever the signature
            ask = Ask(target=target, method=method)
            yield replace(missed, name=f"{name}, kept", ask=ask, code=None, status=200, is_kept=True)
    for name, target in _twice():
        yield Case(family="signature twice", name=name, ask=Ask(target=target), code="invalid_query", status=400)
    yield from _good_signatures()
    yield Case(
        family="signature where there are no keys",
        name="good elsewhere",
        ask=Ask(target=signed()),
        code="invalid_signature",
        status=403,
    )


def _good_signatures() -> Iterator[Case]:
    """What a signature leaves free; each makes the one picture that was signed."""
    environ = {"COPPERPLATE_ACCESS": "signed", "COPPERPLATE_URL_SIGNING_KEYS": KEYS}
    kid, exp, sig = parts(signed())
    escaped = "".join(f"%{ord(each):02x}" for each in sig)
    path, query = signed().split("?")
    good = {
        "as handed out": signed(),
        "by the older key": signed(key=OLD),
        "parameters reordered": f"{path}?" + "&".join(reversed(query.split("&"))),
        "percent-encoded": with_signature(kid=kid, exp=exp, sig=escaped),
        "another format": signed().replace(".png", ".webp"),
        "another name of the text": signed().replace("text=", "prompt="),
        "a parameter that counts nowhere": signed() + "&utm_source=x",
    }
    for name, target in good.items():
        case = Case(
            family="signature good", name=name, ask=Ask(target=target), code=None, status=200, calls=1, environ=environ
        )
        yield case
        yield replace(case, name=f"{name}, replayed", before=(Ask(target=target),))
        keys = {**environ, "COPPERPLATE_ACCESS": "keys"}
        yield replace(case, name=f"{name}, keys only", code="access_denied", status=401, calls=0, environ=keys)


# --- access --------------------------------------------------------------------------------------


def access_cases() -> Iterator[Case]:
    """Callers without anything, or with what is nothing, where a miss needs more."""
    nothing: dict[str, Headers] = {
        "no header": (),
        "an unknown bearer": (("authorization", "Bearer something"),),
        "Basic": (("authorization", "Basic dXNlcjpwYXNz"),),
        "a cookie": (("cookie", "sb-access-token=eyJhbGciOiJIUzI1NiJ9"),),
        "a referrer": (("referer", "https://owner.example/"), ("origin", "https://owner.example")),
        "a forwarded host": (("x-forwarded-host", "owner.example"), ("forwarded", "for=127.0.0.1;host=owner.example")),
        "the cron's header": (("x-vercel-cron", "1"), ("user-agent", "vercel-cron/1.0")),
    }
    for access in ("signed", "keys"):
        for name, headers in nothing.items():
            for method, code, status in (("GET", "access_denied", 401), ("HEAD", "not_generated", 404)):
                missed = Case(
                    family=f"access {access}",
                    name=f"{method}, {name}",
                    ask=Ask(headers=headers, method=method),
                    code=code,
                    status=status,
                    environ={"COPPERPLATE_ACCESS": access},
                )
                yield missed
                yield replace(missed, name=f"{missed.name}, kept", code=None, status=200, is_kept=True)

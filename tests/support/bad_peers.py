"""Callers who write that they are somebody else: `X-Forwarded-For` in fifty spellings, from peers of every kind.

Each asks after another request that used up the one picture of an address. What is no new caller gets no new picture.
"""

# ruff: noqa: SIM905 - a table reads better in blocks than one value a line

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from tests.support.bad_callers import ONE_EACH, PEER, PICTURE, SEED, Ask, Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.bad_callers import Headers

PROXY: Final = "10.0.0.7"
TRUSTED: Final = {**ONE_EACH, "COPPERPLATE_TRUSTED_PROXIES": "10.0.0.0/8,fd00::/8"}
VERCEL: Final = {**ONE_EACH, "VERCEL": "1"}
FIRST: Final = "/64x64.png?text=the+first+of+an+address"
VICTIM: Final = "198.51.100.7"


def _variants(rng: random.Random) -> Iterator[tuple[str, Headers]]:
    """Fifty ways and more to write that somebody else is asking."""
    addresses = [".".join(str(rng.randrange(1, 224)) for _ in range(4)) for _ in range(10)]
    addresses += [f"2001:db8:{rng.randrange(1, 65_536):x}::{rng.randrange(1, 65_536):x}" for _ in range(6)]
    spelled = """127.0.0.1 ::1 10.0.0.1 0.0.0.0 255.255.255.255 :: localhost unknown _hidden _ 0x7f.1 2130706433 127.1
        010.0.0.1 1.2.3.4:80 [2001:db8::1]:443 [2001:db8::1] fe80::1%eth0 fe80::1%25eth0 ::ffff:1.2.3.4
        ::ffff:0102:0304 64:ff9b::1.2.3.4 2002:102:304:: 1.2.3 1.2.3.4.5 1.2.3.256 [::1 ::1] %eth0 1.2.3.4%eth0
        for=1.2.3.4 "1.2.3.4" 1.2.3.4; null undefined None true -1 *""".split()
    for value in (*addresses, *spelled, "", " ", ",", ",,,", "1.2.3.4,", ",1.2.3.4", "1.2.3.4, 5.6.7.8", "\xe9\xff"):
        yield f"X-Forwarded-For {value!r}", (("x-forwarded-for", value),)
    yield "a hundred hops", (("x-forwarded-for", ", ".join(f"1.2.3.{number}" for number in range(100))),)
    yield "100 KB of hops", (("x-forwarded-for", "1.2.3.4," * 12_500),)
    yield "two headers", (("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "5.6.7.8"))
    for name in """x-real-ip x-client-ip x-cluster-client-ip client-ip true-client-ip cf-connecting-ip fastly-client-ip
        x-vercel-forwarded-for x-vercel-proxied-for x-original-forwarded-for x-forwarded x_forwarded_for via
        x-envoy-external-address x-appengine-user-ip fly-client-ip""".split():
        yield f"{name}", ((name, "1.2.3.4"),)
    yield "Forwarded", (("forwarded", "for=1.2.3.4;proto=https;by=10.0.0.1"),)


def _refused(family: str, name: str, first: Ask, then: Ask, environ: dict[str, str]) -> Case:
    return Case(
        family=family,
        name=name,
        before=(first,),
        ask=then,
        code="budget_exhausted",
        status=402,
        calls=1,
        environ=environ,
    )


def _untrusted() -> Iterator[Case]:
    """Whoever is connected is the caller, whatever they write."""
    rng = random.Random(SEED)
    for number, (name, headers) in enumerate(_variants(rng)):
        environ, peer = (ONE_EACH, PEER) if number % 2 else (TRUSTED, PEER)
        yield _refused("untrusted peer", name, Ask(target=FIRST, peer=peer), Ask(peer=peer, headers=headers), environ)
    for first, second in (
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        ("2001:db8:1:2::1", "2001:0DB8:0001:0002:0000:0000:0000:0099"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("::ffff:cb00:7109", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::2%eth1"),
    ):
        name = f"{first}, then {second}"
        yield _refused("one caller, two addresses", name, Ask(target=FIRST, peer=first), Ask(peer=second), ONE_EACH)


def _trusted() -> Iterator[Case]:
    """The nearest hop that is no proxy of ours is the caller, however the proxy writes it."""
    rng = random.Random(SEED + 1)
    victim = _through(VICTIM, FIRST)
    same = [VICTIM, f" {VICTIM} ", f"{VICTIM}:443", f"::ffff:{VICTIM}", f"[::ffff:{VICTIM}]:80", "::FFFF:c633:6407"]
    same += [f"{VICTIM}, 10.1.1.1", f"{VICTIM}, 10.1.1.1, fd00::5", f"{VICTIM},10.9.9.9:80", f"{VICTIM}%eth0"]
    for _ in range(12):  # what stands before it, the caller may have written
        spoofed = ".".join(str(rng.randrange(1, 224)) for _ in range(4))
        same.append(f"{spoofed}, {VICTIM}")
    same += [
        f"127.0.0.1, {VICTIM}",
        f"10.0.0.1, {VICTIM}",
        f"unknown, {VICTIM}",
        f",,{VICTIM}",
        f"{'1.1.1.1,' * 99}{VICTIM}",
    ]
    for value in same:
        yield _refused("trusted peer", repr(value)[:60], victim, _through(value), TRUSTED)
    six = "2001:db8:7:7::1"
    written = ["2001:db8:7:7::2", "2001:DB8:7:7:0:0:0:3", "[2001:db8:7:7::4]:443", "2001:db8:7:7::5%eth0"]
    written += [f"1.2.3.4, {six}", "2001:db8:7:7:ffff::", "[2001:db8:7:7::6]"]
    for value in written:
        yield _refused("trusted peer, one network", value, _through(six, FIRST), _through(value), TRUSTED)
    # What is no address names nobody: it is the proxy that asks.
    for value in ("unknown", "", "_x", "1.2.3", "x" * 1_000, "1.2.3.4, unknown", "1.2.3.4,", "\xe9", "fe80::1%%,,"):
        yield _refused(
            "trusted peer, no address", repr(value)[:60], _through("garbage", FIRST), _through(value), TRUSTED
        )
    for peer in ("::ffff:10.0.0.7", "fd00::1", "10.255.255.255"):
        yield _refused("trusted peer of another kind", peer, victim, Ask(peer=peer, headers=victim.headers), TRUSTED)
    # Vercel sets its own header, and nobody else can.
    real = ("x-real-ip", VICTIM)
    for value in (VICTIM, "1.2.3.4", "1.2.3.4, 5.6.7.8", "unknown", "", "::1"):
        then = Ask(peer=rng.choice(("10.0.0.1", "127.0.0.1", "::1")), headers=(("x-forwarded-for", value), real))
        yield _refused("on Vercel", repr(value), Ask(target=FIRST, headers=(real,)), then, VERCEL)


def _through(value: str, target: str = PICTURE) -> Ask:
    return Ask(target=target, peer=PROXY, headers=(("x-forwarded-for", value),))


def _others() -> Iterator[Case]:
    """Those who are somebody else have a picture of their own: nobody is refused for what others used."""
    for name, first, then, environ in (
        ("another peer", Ask(target=FIRST), Ask(peer="203.0.113.10"), ONE_EACH),
        ("another network", Ask(target=FIRST, peer="2001:db8:1:2::1"), Ask(peer="2001:db8:1:3::1"), ONE_EACH),
        ("another caller of a proxy", _through(VICTIM, FIRST), _through("198.51.100.8"), TRUSTED),
        ("behind a proxy, and beside it", _through(VICTIM, FIRST), Ask(peer=PROXY), TRUSTED),
    ):
        yield Case(
            family="somebody else",
            name=name,
            before=(first,),
            ask=then,
            code=None,
            status=200,
            calls=2,
            environ=environ,
        )


def peer_cases() -> Iterator[Case]:
    """The whole table."""
    yield from _untrusted()
    yield from _trusted()
    yield from _others()

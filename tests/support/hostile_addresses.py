"""Addresses of pictures that must not be fetched, by classes; the same ones for the same seed."""

from __future__ import annotations

import ipaddress
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from copperplate.adapters.judged_transport import REFUSED
from tests.support.closed_internet import HOST, OTHER_HOST, OTHER_PUBLIC, PUBLIC, answer, redirect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.support.closed_internet import Answer

FOUR: Final = ("127.0.0.1", "10.0.0.5", "169.254.169.254", "192.168.1.1", "172.16.9.9", "100.100.100.200")
SIX: Final = (
    "::1",
    "::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "100::1",
    "3fff::1",
)
SIX_PUBLIC: Final = "2606:2800:220:1:248:1893:25c8:1946"
REDIRECTS: Final = (301, 302, 303, 307, 308)
PRIVATE_HOST: Final = "inside.pictures.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """One address, with the names and pages of the internet that it is fetched in.

    `is_for_judge`: its host leads to an address that is not public, so the transport alone has to refuse it.
    """

    family: str
    url: str
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    pages: dict[str, Answer] = field(default_factory=dict)
    is_for_judge: bool = False


def hostile_addresses(seed: int) -> list[Hostile]:
    """All of them."""
    chance = random.Random(seed)
    families: dict[str, Iterable[Hostile]] = {
        "numeric": _numeric(chance),
        "spelling": _spellings(),
        "embedded": _embedded(),
        "name": _names(chance),
        "rebinding": _rebinding(),
        "redirect": _redirects(),
        "loop": _loops(),
        "scheme": _schemes(),
        "user": _users(),
        "character": _characters(chance),
        "host": _hosts(),
        "port": _ports(),
        "answer": _answers(),
    }
    return [_named(each, family) for family, cases in families.items() for each in cases]


def _named(each: Hostile, family: str) -> Hostile:
    return Hostile(family=family, url=each.url, names=each.names, pages=each.pages, is_for_judge=each.is_for_judge)


def _at(host: str, found: list[str] | None = None, *, is_for_judge: bool = True) -> Hostile:
    names = {} if found is None else {host: [found]}
    return Hostile(family="", url=f"https://{host}/a.png", names=names, is_for_judge=is_for_judge)


def _numeric(chance: random.Random) -> Iterator[Hostile]:
    for network in REFUSED:
        for _ in range(2):
            address = network[chance.randrange(min(network.num_addresses, 1 << 64))]
            yield _at(f"[{address}]" if address.version == 6 else str(address))
    yield from (_at(f"[{address}]") for address in SIX)
    yield from (_at(address) for address in FOUR)


def _spellings() -> Iterator[Hostile]:
    """Forms that the C library, a browser or IDNA reads as an IPv4 address."""
    for address in FOUR[:4]:
        number, parts = int(ipaddress.IPv4Address(address)), [int(part) for part in address.split(".")]
        a, b, c, d = parts
        spelled = [
            *(str(number), hex(number), f"0{number:o}", f"{a}.{(b << 16) + (c << 8) + d}", f"{a}.{b}.{(c << 8) + d}"),
            *(".".join(map(hex, parts)), ".".join(f"0{part:o}" for part in parts), f"{hex(a)}.{b}.0{c:o}.{d}"),
            *(".".join(f"{part:03}" for part in parts), f"{a:#x}.{(b << 16) + (c << 8) + d}"),
            *(address.translate(CIRCLED), address.translate(FULL_WIDTH), address.replace(".", "。")),
        ]
        yield from map(_at, spelled)
        # Names to the C library.
        names = ("".join(f"%{ord(char):x}" for char in address), f"{address}.", address.replace(".", "%2e"))
        yield from (_at(name, is_for_judge=False) for name in names)


CIRCLED: Final = str.maketrans("0123456789", "⓪①②③④⑤⑥⑦⑧⑨")
FULL_WIDTH: Final = {digit: 0xFF10 + digit - 0x30 for digit in range(0x30, 0x3A)}


def _embedded() -> Iterator[Hostile]:
    """IPv6 addresses that lead to an IPv4 address."""
    for address in FOUR[:4]:
        four = ipaddress.IPv4Address(address)
        high, low = int(four) >> 16, int(four) & 0xFFFF
        end = f"{high:x}:{low:x}"
        teredo = f"{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}"
        for six in (
            *(f"::ffff:{address}", f"::ffff:{end}", f"0:0:0:0:0:ffff:{address}", f"::{end}", f"::ffff:0:{end}"),
            *(f"64:ff9b::{end}", f"64:ff9b:1::{end}", f"2002:{end}::1", f"2001:0:808:808:0:0:{teredo}"),
            *(f"2a00:1450:4001:800:0:5efe:{end}", f"2a00:1450:4001:800:200:5efe:{end}"),
        ):
            yield _at(f"[{six}]")


def _names(chance: random.Random) -> Iterator[Hostile]:
    """Answers of a resolver: private alone, and beside public ones in any order."""
    for address in (*FOUR, *SIX, "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1", "fe80::1%eth0"):
        mixed = [address, PUBLIC, SIX_PUBLIC]
        chance.shuffle(mixed)
        for found in ([address], mixed):
            yield _at(PRIVATE_HOST, found)
    for host in ("localhost", "metadata.google.internal", "127.0.0.1.nip.example", "kubernetes.default.svc"):
        yield _at(host, [chance.choice(FOUR)])


def _rebinding() -> Iterator[Hostile]:
    """A name whose second answer is private, which a redirect to itself asks for."""
    for address in (*FOUR, "::1", "::ffff:10.0.0.5"):
        for status in (302, 307):
            yield Hostile(
                family="",
                url=f"https://{HOST}/a.png",
                names={HOST: [[PUBLIC], [address]]},
                pages={"/a.png": redirect(status, "/b.png"), "/b.png": answer(b"a picture")},
            )


def _redirects() -> Iterator[Hostile]:
    targets = (
        *("https://127.0.0.1/", "https://[::1]/", f"https://{PRIVATE_HOST}/", "//169.254.169.254/latest/meta-data/"),
        *(
            f"http://{OTHER_HOST}/",
            f"https://{OTHER_HOST}:8443/",
            f"https://user:pass@{OTHER_HOST}/",
            "file:///etc/passwd",
        ),
        *("https://2130706433/", "https://0x7f.1/", f"https://{OTHER_HOST}\\@127.0.0.1/", "https://[::ffff:10.0.0.5]/"),
    )
    for status in REDIRECTS:
        for target in targets:
            yield _behind(redirect(status, target))
    for status in (300, 304, 305, 306, 399):
        yield _behind(redirect(status, f"https://{OTHER_HOST}/b.png"))


def _behind(told: Answer, **more: Answer) -> Hostile:
    """An address of a public host with this answer."""
    pages = {"/a.png": told, "/b.png": answer(b"a picture"), **more}
    names = {PRIVATE_HOST: [["10.0.0.5"]]}
    return Hostile(family="", url=f"https://{HOST}/a.png", names=names, pages=pages)


def _loops() -> Iterator[Hostile]:
    for status in REDIRECTS:
        yield _behind(redirect(status, "/a.png"))
        chain = {f"/{hop}": redirect(status, f"/{hop + 1}") for hop in range(1, 4)}
        yield _behind(redirect(status, "/1"), **chain, **{"/4": answer(b"a picture")})
    there, back = redirect(302, f"https://{OTHER_HOST}/back"), redirect(302, f"https://{HOST}/a.png")
    yield _behind(there, **{"/back": back})


def _schemes() -> Iterator[Hostile]:
    for scheme in (
        "http",
        "ftp",
        "file",
        "gopher",
        "ws",
        "wss",
        "ldap",
        "dict",
        "blob:https",
        "view-source:https",
        "unix",
    ):
        yield Hostile(family="", url=f"{scheme}://{HOST}/a.png")
    for url in ("data:image/png;base64,AA==", "javascript:alert(1)", "about:blank", "file:///etc/passwd", "", "https:"):
        yield Hostile(family="", url=url)
    for url in (
        f"//{HOST}/a.png",
        f"{HOST}/a.png",
        f"https:{HOST}/a.png",
        f"https:/{HOST}/a.png",
        f"https:///{HOST}/a",
    ):
        yield Hostile(family="", url=url)


def _users() -> Iterator[Hostile]:
    for user in ("user", "user:pass", ":pass", "user:", f"{HOST}", f"{HOST}:443", "%00", "a%40b", "①"):
        yield Hostile(family="", url=f"https://{user}@{HOST}/a.png")
        yield Hostile(family="", url=f"https://{user}@127.0.0.1/a.png")
    for url in (f"https://127.0.0.1#@{HOST}/", f"https://127.0.0.1?@{HOST}/", f"https://127.0.0.1/@{HOST}/"):
        yield Hostile(family="", url=url, is_for_judge=True)
    for url in (f"https://{HOST}\\@127.0.0.1/", f"https://127.0.0.1\\@{HOST}/", f"https://{HOST}%40127.0.0.1/"):
        yield Hostile(family="", url=url)


def _characters(chance: random.Random) -> Iterator[Hostile]:
    """One character, at places where parsers drop it, stop at it, or read it as another."""
    places: tuple[Callable[[str], str], ...] = (
        lambda odd: f"{odd}https://{HOST}/a.png",
        lambda odd: f"https{odd}://{HOST}/a.png",
        lambda odd: f"https:/{odd}/{HOST}/a.png",
        lambda odd: f"https://{odd}{HOST}/a.png",
        lambda odd: f"https://{HOST}{odd}/a.png",
        lambda odd: f"https://{HOST}/a.png{odd}Host: inside",
    )
    for odd in ("\t", "\n", "\r\n", " ", "\0", "\x7f", "\\", "\u200b", "\u202e", "\u00a0", "\ufeff", "\u2028"):
        yield from (Hostile(family="", url=place(odd)) for place in places)
    for _ in range(20):
        odd = chr(
            chance.choice((chance.randrange(0x20), chance.randrange(0x7F, 0xA1), chance.randrange(0x2000, 0x2010)))
        )
        yield Hostile(family="", url=chance.choice(places)(odd))


def _hosts() -> Iterator[Hostile]:
    for host in (
        *("localhost", "LOCALHOST", "localhost.", "router", "a", "-", ".", "..", f"{HOST}.", f"{HOST}..", f".{HOST}"),
        *(
            "a..pictures.example",
            "ⓛocalhost",
            "locaⅼhost",
            "bücher.example",
            "faß.example",
            "xn--a",
            "%6cocalhost",
            "[",
            "[]",
        ),
        *(
            "[::1",
            "::1]",
            "[::1]]",
            "[fe80::1%25eth0]",
            "[fe80::1%eth0]",
            "[::1%lo]",
            "[::1%251]",
            "[v1.a]",
            "[127.0.0.1]",
        ),
        *("[::ffff:127.0.0.1%25lo]", "*.pictures.example", "a,b.pictures.example", "{host}", "$(id).pictures.example"),
        *(f"{'a' * 64}.example", f"{'a.' * 2_000}example", "a.0x7f", "a.1"),
    ):
        yield _at(host, is_for_judge=False)


def _ports() -> Iterator[Hostile]:
    for port in (
        "0",
        "1",
        "22",
        "25",
        "80",
        "444",
        "6379",
        "8443",
        "65535",
        "65536",
        "99999",
        "-1",
        "443a",
        "٤٤٣",
        "+443",
    ):
        yield Hostile(family="", url=f"https://{HOST}:{port}/a.png")


def _answers() -> Iterator[Hostile]:
    """Public hosts that lie about what they send. The limit of the test is 1,000 bytes."""
    many = b"x" * 1_001
    yield from (
        _behind(answer(b"x", content_encoding=coding)) for coding in ("gzip", "deflate", "br", "zstd", "GZIP, gzip")
    )
    for status in (
        "204 None",
        "206 Partial",
        "401 No",
        "404 No",
        "407 Proxy",
        "500 Broken",
        "600 What",
        "101 Switching",
    ):
        yield _behind(answer(b"a picture", status=status))
    yield _behind(answer(many))
    yield _behind(b"HTTP/1.1 200 OK\r\n\r\n" + many)
    yield _behind(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + many + b"\r\n0\r\n\r\n")
    for length in ("99999999999999", "-1", "abc", "1, 2", "\u0661"):
        yield _behind(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nshort".encode())
    yield _behind(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 5\r\n\r\na picture")
    yield _behind(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
    yield _behind(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nx")
    yield _behind(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 40_000 + b"\r\n")
    yield from map(_behind, (b"", b"SSH-2.0-OpenSSH\r\n", b"\x89PNG", b"HTTP/2 200\r\n\r\nx", b"HTTP/1.1 200 OK\r\n"))
    for location in ("", "https://", "http:", "\\\\127.0.0.1\\", "https://\u2460.example/", "https://[", "x" * 5_000):
        yield _behind(redirect(302, location))
    yield Hostile(family="", url=f"https://{HOST}/a.png", names={HOST: [[OTHER_PUBLIC, SIX_PUBLIC, "0.0.0.0"]]})  # noqa: S104
    yield Hostile(family="", url=f"https://{HOST}/{'a' * 5_000}")
    yield Hostile(family="", url="https://other.example/a.png", names={"other.example": [[PUBLIC]]})  # certificate

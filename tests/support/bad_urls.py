"""Wrong, odd and hostile picture URLs by family, each with the statuses that are right for it.

Targets are bytes as a client would put them into its request line, so that they can be sent both
through ASGI and over a socket.
"""
# ruff: noqa: E501, SIM905 - a corpus reads better in blocks than one value a line

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_from_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

OK = frozenset({200})
REFUSED = frozenset({400})
# Meant as a picture (400) or not ours at all (404): both are honest.
NOT_A_PICTURE = frozenset({400, 404})
TEXT = b"text=A%20beautiful%20sunset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request and the statuses that are right for it; `same_as_plain` where it is the plain one's picture."""

    family: str
    target: bytes
    statuses: frozenset[int]
    method: bytes = b"GET"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    same_as_plain: bool = False

    def __str__(self) -> str:
        return f"{self.family} {self.method.decode()} {self.target[:60]!r} {str(self.headers)[:60]}"


PLAIN = Case(family="plain", target=b"/256x256.jpg?" + TEXT, statuses=OK, same_as_plain=True)


def all_cases() -> list[Case]:
    """Every case of every family."""
    return list(
        chain(
            _sides(),
            _shapes(),
            _endings(),
            _paths(),
            _good_texts(),
            _bad_texts(),
            _long(),
            _same(),
            _different(),
            _queries(),
            _models_and_seeds(),
            _display(),
            _methods(),
            _conditions(),
            _odd_headers(),
        )
    )


def _q(text: str) -> bytes:
    return quote(text, safe="").encode()


SIDES = """0 1 63 2049 4096 65536 10000000000000000000 -1 +1 -256 +256 0256 00256 000 1e3 1E3 1024.0 256. .256 25_6 1,024
0x100 0b1 0o7 256px 256% NaN nan inf Infinity None null true 1/2 ² ²⁰ ①②⑦ ２５６ ٢٥٦ २५६ 五 Ⅷ ½ 256² 2𝟓6 𝟐𝟓𝟔 −256 ‐256""".split()


def _sides() -> Iterator[Case]:
    for side in SIDES:
        for path in (f"/{side}x256.jpg", f"/256x{side}.jpg", f"/{side}x{side}.png"):
            yield Case(family="side", target=quote(path, safe="/+,%").encode() + b"?" + TEXT, statuses=NOT_A_PICTURE)
    for space in (" ", "\t", "\n", "\r", "\0", "\u00a0", "\u200b", "\u2003", "\ufeff"):
        for path in (f"/{space}256x256.jpg", f"/256{space}x256.jpg", f"/256x{space}256.jpg", f"/256x256{space}.jpg"):
            yield Case(family="space in size", target=b"/" + _q(path[1:]) + b"?" + TEXT, statuses=NOT_A_PICTURE)


def _shapes() -> Iterator[Case]:
    shapes = """256X256 256×256 256х256 256Х256 256*256 256✕256 256ｘ256 256xx256 256x 256 x256 x 256-256 256:256 256,256
    256by256 256x256x256 256x256@2x (256x256) {256}x{256} 256x256!""".split()
    for shape in shapes:
        yield Case(family="shape", target=b"/" + _q(shape) + b".jpg?" + TEXT, statuses=NOT_A_PICTURE)


def _endings() -> Iterator[Case]:
    endings = """JPG Jpg JPEG PNG Webp WEBP gif svg AVIF jxl bmp ico tiff heic html htm php js json xml txt pdf jpg.svg
    jpg.html jpg.png svg.jpg jpg. jpg%20 jpg%00 jpg%00.svg %00jpg jpg%0a jpg%0d%0aX-Evil:%201 jpg/ jpg// jpg/x jpg%2f jpg%5c jpg;
    jpg;a=b jpg%3Ftext=a jpg%23 jpg~ jpg.bak jp jpgg jpe pneg web webp2 *""".split()
    for ending in [*endings, ""]:
        yield Case(family="ending", target=f"/256x256.{ending}?".encode() + TEXT, statuses=NOT_A_PICTURE)
    for target in (b"/256x256?", b"/256x256jpg?", b"/256x256..jpg?", b"/256x256%2e%2ejpg?", b"/256x256,jpg?"):
        yield Case(family="ending", target=target + TEXT, statuses=NOT_A_PICTURE)


def _paths() -> Iterator[Case]:
    for path in (
        b"//256x256.jpg", b"/./256x256.jpg", b"/../256x256.jpg", b"/..%2f256x256.jpg", b"/%2e%2e/256x256.jpg",
        b"/%2e%2e%2f%2e%2e%2fetc%2fpasswd", b"/..%5c256x256.jpg", b"/a/256x256.jpg", b"/%252e256x256.jpg", b"/%2F256x256.jpg",
        b"/256x256.jpg/../../etc/passwd", b"/%ff256x256.jpg", b"/256x256.jpg%ff", b"/%c0%af256x256.jpg", b"/%ed%a0%80",
        b"/256x256.jpg%e2%80%ae", b"/%", b"/%2", b"/%zz", b"/256%x256.jpg", b"/256x256.jp%g", b"/256%78256.jpg%25",
        b"/api/256x256.jpg", b"/api/generation/stats/../256x256.jpg", b"/healthz/256x256.jpg", b"/.env", b"/wp-login.php",
        b"/" + b"9" * 5_000 + b"x" + b"9" * 5_000 + b".jpg", b"/" + b"x" * 8_000, b"/" + b"../" * 1_000, b"/" + b"1x" * 3_000,
        b"/256x256." + b"j" * 9_000, b"/" + b"%31" * 3_000 + b"x256.jpg", b"/" + b"1," * 4_000,
    ):  # fmt: skip
        yield Case(family="path", target=path + b"?" + TEXT, statuses=NOT_A_PICTURE)


def _good_texts() -> Iterator[Case]:
    texts = [
        "a", "0", "a" * 1_000, "é" * 1_000, "😀" * 1_000, "  a  ", "a\tb", "a\nb", "a\r\nb", "a\u2028b", "None", "null", "{}",
        "%", "%%", "&", "=", "#", "+", "a&b=c", "../../etc/passwd", "\\", "'; drop table image_cache; --", '"><script>alert(1)</script>',
        "${jndi:ldap://x}", "{{7*7}}", "%s%n%x", "\u202eesrever", "\u2066a\u2069", "👨\u200d👩\u200d👧\u200d👦", "e\u0301",
        "Z" + "\u0351" * 200, "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "日本語の夕焼け", "ﷺ", "İ", "ß", "ﬁ", "Å", "\u200b", "\ufeff",
        "\ufffd", "\uffff", "\U0010ffff", "\ue000", "a" * 999 + " ", " " * 5_000 + "a",
    ]  # fmt: skip
    for text in texts:
        yield Case(family="good text", target=b"/64x64.webp?text=" + _q(text), statuses=OK)


def _bad_texts() -> Iterator[Case]:
    empty = ["", " ", "   ", "\t", "\n", "\u00a0", "\u3000", "\u2028\u2029", " " * 5_000, "\u2003 \t\r\n\v\f"]
    too_long = ["a" * 1_001, "😀" * 1_001, "a " * 600, "a" * 5_000, "\u0301" * 4_500, "a" + "\u0301" * 1_500]
    not_text = [f"a{chr(code)}b" for code in (0, 1, 7, 8, 0x0E, 0x1B, 0x1F, 0x7F, 0x80, 0x84, 0x86, 0x9F)]
    for text in chain(empty, too_long, not_text):
        yield Case(family="bad text", target=b"/64x64.png?text=" + _q(text), statuses=REFUSED)
    for raw in (
        b"\xff", b"\xfe\xff", b"\x80", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xed\xa0\x80", b"\xed\xbf\xbf",
        b"\xed\xa0\xbd\xed\xb8\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xe2\x82", b"a\xe2", b"\xc3\x28", b"\xff" * 500,
    ):  # fmt: skip
        yield Case(
            family="not utf-8", target=b"/64x64.png?text=" + quote_from_bytes(raw, safe="").encode(), statuses=REFUSED
        )
    for query in (
        b"",
        b"?",
        b"?text",
        b"?text=",
        b"?tex=a",
        b"?Text=a",
        b"?TEXT=a",
        b"?text[]=a",
        b"?text%5B%5D=a",
        b"?=a",
        b"?&&&",
        b"?#",
    ):
        yield Case(family="no text", target=b"/64x64.png" + query, statuses=REFUSED)


def _long() -> Iterator[Case]:
    for size in (8_192, 16_385, 32_768, 60_000):
        yield Case(family="long query", target=b"/64x64.png?text=" + b"a" * size, statuses=REFUSED)
        yield Case(family="long query", target=b"/64x64.png?text=" + b"%C3%A9" * (size // 6), statuses=REFUSED)
    for size in (16_385, 60_000):
        yield Case(family="long query", target=PLAIN.target + b"&x=" + b"y" * size, statuses=REFUSED)
        yield Case(family="long query", target=b"/64x64.png?" + b"&" * size, statuses=REFUSED)
    for count in (100, 101, 5_000):
        yield Case(family="many parameters", target=PLAIN.target + b"&a=b" * count, statuses=REFUSED)


def _same() -> Iterator[Case]:
    """Other spellings of the plain request, and whatever does not count: one key."""
    path = b"/256x256.jpg?"
    spellings = [
        b"text=A+beautiful+sunset", b"text=A%20beautiful+sunset", b"text=%41%20beautiful%20sunset", b"prompt=A+beautiful+sunset",
        b"text=A++beautiful%09sunset", b"text=+A+beautiful+sunset+", b"text=A%0Abeautiful%0D%0Asunset", b"text=A%C2%A0beautiful%E3%80%80sunset",
        b"text=A+beautiful+sunset&prompt=A+beautiful+sunset", b"text=A+beautiful+sunset&seed=", b"te%78t=A+beautiful+sunset",
        b"&&text=A+beautiful+sunset&&", b"text=A+beautiful+sunset&model=copperplate/painter-1", b"text=A+beautiful+sunset&model=",
    ]  # fmt: skip
    ignored = [
        b"utm_source=x", b"fbclid=1", b"_=1700000000", b"cachebuster=%00", b"sig=abc&exp=1", b"text[]=b", b"TEXT=b", b"Text=b", b"text%20=b",
        b"width=64", b"format=png", b"steps=50", b"__proto__=1", b"constructor", b"=", b"a=b=c", b"%ff=1", b"x=%ff", b"x=%ED%A0%80", b"%zz=%zz",
        b"callback=alert(1)", b"redirect=//evil.test", b"quality=1", b"x;y=1",
    ]  # fmt: skip
    for query in chain(spellings, (TEXT + b"&" + each for each in ignored), (each + b"&" + TEXT for each in ignored)):
        yield Case(family="same picture", target=path + query, statuses=OK, same_as_plain=True)
    for same in (b"/256x256.jpeg?", b"/256x256%2ejpg?", b"/%32%35%36x256.jpg?", b"/256%78256.jpg?"):
        yield Case(family="same picture", target=same + TEXT, statuses=OK, same_as_plain=True)


def _different() -> Iterator[Case]:
    """What looks like the plain request and is another picture."""
    for text in (
        "a beautiful sunset", "А beautiful sunset", "A beautiful sunset.", "A beautiful sun\u200bset", "A+beautiful+sunset",
        "A%20beautiful%20sunset", "A beautiful sunset\u200d", "Ａ beautiful sunset", "A\u0301 beautiful sunset",
    ):  # fmt: skip
        yield Case(family="other picture", target=b"/256x256.jpg?text=" + _q(text), statuses=OK)
    for text in ("é", "Å", "ñandú", "각", "ế"):
        for form in ("NFC", "NFD"):
            yield Case(
                family="normal forms", target=b"/64x64.jpg?text=" + _q(unicodedata.normalize(form, text)), statuses=OK
            )


def _queries() -> Iterator[Case]:
    for query in (
        b"text=a&text=a", b"text=a&text=b", b"text=a&prompt=b", b"prompt=a&prompt=a", b"text=&prompt=a", b"text=a&te%78t=a", b"text=a;text=b&text=c",
        b"seed=1&text=a&seed=1", b"model=a&model=b&text=a", b"text=a&seed=%ff", b"text=a&model=%ff", b"prompt=%ff&text=a",
    ):  # fmt: skip
        yield Case(family="contradicting", target=b"/64x64.png?" + query, statuses=REFUSED)
    for query in (
        b"text=%",
        b"text=%2",
        b"text=%zz",
        b"text=%%20",
        b"text=100%",
        b"text=a%u0041",
        b"text=a?b",
        b"text=a=b",
        b"text=a/../b",
        b"text=a;b",
    ):
        yield Case(family="odd escapes", target=b"/64x64.png?" + query, statuses=OK)


def _models_and_seeds() -> Iterator[Case]:
    for model in (
        "x",
        "fal-ai/flux/pro",
        "../painter",
        "copperplate/painter-1 ",
        "COPPERPLATE/PAINTER-1",
        "a" * 500,
        "\0",
        "é",
        "' or 1=1 --",
    ):
        yield Case(family="model", target=PLAIN.target + b"&model=" + _q(model), statuses=REFUSED)
    seeds = [
        "-1",
        "+1",
        "1.0",
        "1e3",
        "0x1",
        "a",
        " 1",
        "1 ",
        "18446744073709551616",
        "9" * 1_000,
        "9" * 5_000,
        "１",
        "²",
        "٣",
        "\0",
        "NaN",
    ]
    for seed in seeds:
        yield Case(family="seed", target=PLAIN.target + b"&seed=" + _q(seed), statuses=REFUSED)
    for seed in ("0", "1", "007", "18446744073709551615"):
        yield Case(family="good seed", target=b"/64x64.png?text=a&seed=" + _q(seed), statuses=OK)


def _display() -> Iterator[Case]:
    for side in ["0", "-1", "1e9", "640.5", "0640", "٦٤٠", "６４０", "640px", "", "+640", "1000000000", "\0", "640\n"]:
        for name in (b"w", b"w=64&h", b"thumb", b"q"):
            yield Case(family="display", target=PLAIN.target + b"&" + name + b"=" + _q(side), statuses=REFUSED)
    for query in b"h=64 w=64&w=64 w=64&thumb=64 fit=fill fit=Cover&w=64 fit= q=101 w w=%ff".split():
        yield Case(family="display", target=PLAIN.target + b"&" + query, statuses=REFUSED)
    for query in b"w=256 w=99999 w=9999&h=9999 thumb=256 fit=cover q=85 q=76 W=0 w%20=0".split():
        yield Case(family="display", target=PLAIN.target + b"&" + query, statuses=OK, same_as_plain=True)
    for query in b"w=1 w=1&h=99999 w=99999&h=1&fit=contain thumb=1&q=1".split():
        yield Case(family="display", target=PLAIN.target + b"&" + query, statuses=OK)


def _methods() -> Iterator[Case]:
    for method in (b"POST", b"PUT", b"PATCH", b"DELETE", b"TRACE", b"PROPFIND", b"REPORT", b"LOCK", b"SEARCH"):
        for target in (PLAIN.target, b"/0x0.gif?text=a"):
            yield Case(family="method", target=target, method=method, statuses=frozenset({405}))
        yield Case(family="method", target=b"/api/cache/stats", method=method, statuses=frozenset({405}))
        yield Case(family="method", target=b"/nope", method=method, statuses=frozenset({404}))
    for target in (PLAIN.target, b"/256x256.jpg", b"/0x0.gif", b"/256x256.JPG?text=%ff"):
        yield Case(family="preflight", target=target, method=b"OPTIONS", statuses=frozenset({204}))
    yield Case(family="head", target=b"/64x64.png?text=never%20made", method=b"HEAD", statuses=frozenset({404}))
    for target in (b"/0x0.png?text=a", b"/64x64.gif?text=a", b"/64x64.png", b"/64x64.png?text=%ff"):
        yield Case(family="head", target=target, method=b"HEAD", statuses=REFUSED)
    yield Case(family="head", target=PLAIN.target, method=b"HEAD", statuses=OK, same_as_plain=True)


def _conditions() -> Iterator[Case]:
    for held in (
        b"", b'""', b'"x"', b"x", b'W/"x"', b"W/", b'"', b",", b",,,", b'"a","b"', b"**", b'"*"', b"\xff\xfe", b'"' + b"a" * 6_000 + b'"',
        b'"x",' * 1_000, b"null", b"0",
    ):  # fmt: skip
        yield _with(b"if-none-match", held, "if-none-match")
    yield Case(
        family="if-none-match",
        target=PLAIN.target,
        statuses=frozenset({304}),
        headers=((b"if-none-match", b"*"),),
        same_as_plain=True,
    )
    for range_ in (b"bytes=0-0", b"bytes=0-", b"bytes=-1"):
        yield _with(b"range", range_, "range", frozenset({206}))
    past_the_end = ((b"range", b"bytes=99999999-"),)
    yield Case(family="range", target=PLAIN.target, statuses=frozenset({416}), headers=past_the_end)
    for range_ in (b"bytes=5-2", b"bytes=0-0,1-1", b"bytes=a-b", b"lines=1-2", b"", b"x"):
        yield _with(b"range", range_, "no range")
    for name, value in (
        (b"if-match", b'"x"'), (b"if-modified-since", b"Sat, 01 Jan 2050 00:00:00 GMT"), (b"if-modified-since", b"yesterday"),
        (b"if-unmodified-since", b"Thu, 01 Jan 1970 00:00:00 GMT"), (b"if-range", b'"x"'), (b"cache-control", b"no-cache"),
        (b"cache-control", b"only-if-cached"), (b"pragma", b"no-cache"),
    ):  # fmt: skip
        yield _with(name, value, "other conditions")


def _odd_headers() -> Iterator[Case]:
    for name, value in (
        (b"accept", b"text/html"), (b"accept", b"application/json"), (b"accept", b"image/svg+xml"), (b"accept", b"*/*;q=0"), (b"accept", b""),
        (b"accept", b"\xff"), (b"accept-encoding", b"gzip, br"), (b"accept-encoding", b"identity;q=0"), (b"accept-language", b"xx"),
        (b"cookie", b"session=1"), (b"cookie", b"a=b; " * 500), (b"cookie", b"\xff\xfe"), (b"authorization", b"Bearer x"),
        (b"authorization", b"Basic !!"), (b"x-forwarded-host", b"evil.test"), (b"x-forwarded-proto", b"gopher"), (b"x-forwarded-for", b"1.1.1.1, x"),
        (b"x-original-url", b"/admin"), (b"x-rewrite-url", b"/admin"), (b"x-http-method-override", b"DELETE"), (b"forwarded", b"host=evil"),
        (b"origin", b"null"), (b"origin", b"https://evil.test"), (b"referer", b"\xff"), (b"user-agent", b""), (b"user-agent", b"<script>" * 100),
        (b"host", b"evil.test"), (b"x-cache", b"HIT"), (b"cdn-loop", b"a, a, a"), (b"te", b"trailers"), (b"x" * 200, b"y"),
    ):  # fmt: skip
        yield _with(name, value, "odd header")


def _with(name: bytes, value: bytes, family: str, statuses: frozenset[int] = OK) -> Case:
    return Case(family=family, target=PLAIN.target, statuses=statuses, headers=((name, value),), same_as_plain=True)

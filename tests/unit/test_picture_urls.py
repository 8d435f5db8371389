"""The grammar of picture URLs: what is read, what is ignored, what gets advice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.painter import Painter
from copperplate.errors import InvalidFormat, InvalidQuery, InvalidRequest, InvalidSize, InvalidText
from copperplate.http.picture_urls import PictureUrls
from copperplate.model import PictureFormat
from copperplate.recipes.image import parse_format
from copperplate.recipes.url import SIGNATURE_NAMES, UrlSignature, parse_picture_path, parse_picture_query

# --- the path ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "parsed"),
    [
        ("/64x2048.png", (64, 2_048, PictureFormat.PNG)),
        ("/1024x768.jpg", (1_024, 768, PictureFormat.JPG)),
        ("/1024x768.jpeg", (1_024, 768, PictureFormat.JPG)),
        ("/100x100.webp", (100, 100, PictureFormat.WEBP)),
        ("/100x100.avif", (100, 100, PictureFormat.AVIF)),
        *(
            (path, None)
            for path in (
                *("", "/", "/api/explain", "/favicon-32x32.png", "/favicon.ico", "/404", "/1024.jpg", "/xmas.html"),
                *("/0xdeadbeef", "/2024-xmas.html", "//64x64.jpg", "64x64.jpg", "/v1/64x64.jpg", "/x2.js", "/3xyz"),
            )
        ),
    ],
)
def test_a_picture_path_is_recognised(path: str, parsed: tuple[int, int, PictureFormat] | None) -> None:
    assert parse_picture_path(path) == parsed


@pytest.mark.parametrize(
    "path",
    [
        *("/1024X1024.jpg", "/1024×1024.jpg", "/1024х1024.jpg", "/1024*1024.jpg", "/0x0.jpg", "/01024x1024.jpg"),
        *("/99999999999999999999x1.jpg", "/１０２４x1024.jpg", "/1024x１０２４.jpg", "/²⁰x²⁰.jpg", "/-1x64.jpg"),
        *("/+64x64.jpg", "/64x-64.jpg", "/1e3x1024.jpg", "/1024.0x1024.jpg", "/1024 x 1024.jpg", "/ 64x64.jpg"),
        *("/2049x64.jpg", "/64x63.jpg", "/65536x64.jpg", "/1024x.jpg", "/x1024.jpg", "/64x64.0.jpg", "/1_0x64.jpg"),
    ],
)
def test_a_size_nearly_right_gets_advice(path: str) -> None:
    with pytest.raises(InvalidSize, match=r"/1024x1024\.jpg"):
        parse_picture_path(path)


@pytest.mark.parametrize(
    "path",
    [
        *("/64x64.gif", "/64x64.JPG", "/64x64.jpg.svg", "/64x64.", "/64x64.jpg/", "/64x64", "/64x64/", "/64x64jpg"),
        *(
            "/64x64.jpg ",
            "/64x64.jpg\n",
            "/64x64.jpg\0",
            "/64x64..jpg",
            "/64x64.jpg/../x",
            "/64x64jpg.jpg",
            "/64x64.ｊｐｇ",
        ),
    ],
)
def test_a_format_nearly_right_gets_advice(path: str) -> None:
    with pytest.raises(InvalidFormat, match="jpg, jpeg, png, webp, avif or auto"):
        parse_picture_path(path)


@settings(deadline=None, max_examples=500)
@given(st.text(max_size=30), st.sampled_from(["", "/", "/64x", "/64x64", "/64x64.", "/x64"]))
def test_any_path_is_parsed_or_refused_as_a_caller_can_mend_it(path: str, start: str) -> None:
    try:
        parsed = parse_picture_path(start + path)
    except (InvalidSize, InvalidFormat):
        return
    assert parsed is None or (start + path).startswith(f"/{parsed[0]}x{parsed[1]}.")


@pytest.mark.parametrize("name", ["", "JPG", "gif", "jpg ", ".jpg", "jpe", "x" * 10_000])
def test_a_format_outside_the_four_names_is_refused(name: str) -> None:
    with pytest.raises(InvalidFormat):
        parse_format(name)


# --- the query ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (b"text=a+b", "a b"),
        (b"text=a%20b", "a b"),
        (b"text=a%2Bb", "a+b"),
        (b"text=a%252Bb", "a%2Bb"),
        (b"text=100%", "100%"),
        (b"text=%zz%4", "%zz%4"),
        (b"text=a=b", "a=b"),
        (b"text=%C3%A9", "é"),
        ("text=é".encode(), "é"),
        (b"te%78t=a", "a"),
        (b"&&text=a&", "a"),
        (b"prompt=a", "a"),
        (b"text=a&prompt=+a+", "a"),
        (b"text=a;b", "a;b"),
        (b"text=%F0%9F%98%80", "😀"),
    ],
)
def test_a_query_is_decoded_like_a_form(query: bytes, text: str) -> None:
    assert parse_picture_query(query).text == text


def test_unknown_parameters_are_ignored_and_named() -> None:
    asked = parse_picture_query(b"TEXT=b&text=a&text%5B%5D=c&utm=%FF&%FF=1&seed=3&model=m&utm=2")
    assert (asked.text, asked.model, asked.seed) == ("a", "m", "3")
    assert asked.used == ("text", "seed", "model")
    assert asked.ignored == ("TEXT", "text[]", "utm", "\ufffd", "utm")


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (b"", InvalidText),
        (b"seed=1", InvalidText),
        (b"TEXT=a", InvalidText),
        (b"text=a&text=a", InvalidQuery),
        (b"text=a&te%78t=a", InvalidQuery),
        (b"text=a&seed=1&seed=1", InvalidQuery),
        (b"text=a&prompt=b", InvalidQuery),
        (b"text=a&prompt=A", InvalidQuery),
        (b"text=&prompt=a", InvalidText),
        (b"text=%FF", InvalidQuery),
        (b"text=%C0%AF", InvalidQuery),
        (b"text=%ED%A0%80", InvalidQuery),
        (b"text=%F4%90%80%80", InvalidQuery),
        (b"text=%C3", InvalidQuery),
        (b"text=a&model=%FF", InvalidQuery),
        (b"text=" + b"a" * 16_380, InvalidQuery),
        (b"text=a" + b"&b" * 100, InvalidQuery),
    ],
)
def test_a_query_that_cannot_be_read_is_refused(query: bytes, error: type[InvalidRequest]) -> None:
    with pytest.raises(error):
        parse_picture_query(query)


def test_a_query_at_its_limits_is_read() -> None:
    assert len(parse_picture_query(b"text=" + b"a" * 16_379).text) == 16_379
    assert len(parse_picture_query(b"text=a" + b"&b" * 99).ignored) == 99


# --- the signature -----------------------------------------------------------------------------


def test_a_signature_is_read_as_it_is_and_named_nowhere() -> None:
    asked = parse_picture_query(b"sig=S-_&text=a&kid=%6bey&utm=1&e%78p=7")
    assert asked.signature == UrlSignature(key_id="key", expires="7", signature="S-_")
    assert (asked.used, asked.ignored) == (("text",), ("utm",))
    assert parse_picture_query(b"text=a&Sig=x&KID=y").signature is None


@pytest.mark.parametrize("query", [b"sig=", b"kid", b"exp=1"])
def test_a_part_of_a_signature_is_a_signature_to_judge(query: bytes) -> None:
    assert parse_picture_query(b"text=a&" + query).signature is not None


@pytest.mark.parametrize("name", SIGNATURE_NAMES)
def test_a_parameter_of_a_signature_is_given_once_and_in_utf_8(name: str) -> None:
    for query in (f"text=a&{name}=1&{name}=1", f"text=a&{name}=%FF"):
        with pytest.raises(InvalidQuery, match=name):
            parse_picture_query(query.encode())


def test_a_signature_makes_no_other_picture() -> None:
    urls = PictureUrls(Painter(FakeClock()))
    plain, signed = urls.read("/64x64.jpg", b"text=a"), urls.read("/64x64.jpg", b"kid=k&text=a&exp=1&sig=s")
    assert plain is not None
    assert signed is not None
    assert (signed.picture_request, signed.ignored) == (plain.picture_request, [])
    assert (plain.signature, signed.signature) == (None, UrlSignature(key_id="k", expires="1", signature="s"))


# --- what is remembered ------------------------------------------------------------------------


def test_an_address_is_remembered_without_the_key_in_it() -> None:
    urls = PictureUrls(Painter(FakeClock()))
    first = urls.read("/64x64.jpg", b"text=a&utm=1")
    assert first is not None
    for query in (
        b"text=a&key=cp_one&utm=1",
        b"key=cp_two&text=a&utm=1",
        b"text=a&utm=1&k%65y=cp_three&%6bey",
        b"text=a&utm=1&key",
    ):
        assert urls.read("/64x64.jpg", query) == first
    assert urls._recall.cache_info().currsize == 1
    another = urls.read("/64x64.jpg", b"text=a&key%20=1&keys=2&KEY=3&utm=1")
    assert another is not None
    assert another.ignored == [(b"x-copperplate-ignored", b"key%20, keys, KEY, utm")]

"""What the builders write is what the server answers: every address, size and `srcset` descriptor."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copperplate.errors import InvalidDisplay, InvalidFormat, InvalidSize
from copperplate.markup import Background, Picture, picture_markup, picture_url, placeholder_url, rendition_size, srcset
from copperplate.recipes.display import WIDTHS
from copperplate.recipes.url import parse_picture_url, split_url

if TYPE_CHECKING:
    from copperplate.model import PictureRequest

FOX = Picture(base="https://pictures.example.com", text="a red fox", width=1024, height=768)
pictures = st.builds(
    Picture,
    text=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40).filter(str.strip),
    width=st.integers(64, 2048),
    height=st.integers(64, 2048),
    seed=st.none() | st.integers(0, 2**64 - 1),
    base=st.sampled_from(["", "https://pictures.example.com/"]),
)
sides = st.integers(1, 99_999)
boxes = st.fixed_dictionaries({"w": sides}, optional={"h": sides, "fit": st.sampled_from(["cover", "contain"])})


def served(url: str) -> PictureRequest:
    """What the server reads in an address."""
    path, query = split_url(url)
    read = parse_picture_url(path, query.encode(), default_model="painter", model_parameters=lambda _: ())
    assert read is not None
    assert read.query.ignored == ()
    return read.picture_request


@given(pictures, boxes, st.sampled_from(["jpg", "png", "webp", "avif"]), st.none() | st.integers(1, 100))
def test_server_reads_an_address_as_the_builder_means_it(
    picture: Picture, box: dict[str, Any], picture_format: str, q: int | None
) -> None:
    asked = served(picture_url(picture, format=picture_format, q=q, **box))
    by_hand = f"/{picture.width}x{picture.height}.{picture_format}?text=a&" + "&".join(
        f"{name}={value}"
        for name, value in {**box, **({} if q is None or picture_format == "png" else {"q": q})}.items()
    )
    path, query = split_url(by_hand)
    plain = parse_picture_url(path, query.encode(), default_model="painter", model_parameters=lambda _: ())
    assert plain is not None
    assert asked.rendition == plain.picture_request.rendition
    assert asked.size == rendition_size(picture.canvas, **box)
    assert asked.recipe["prompt"] == " ".join(picture.text.split()) or not picture.text.isascii()


@given(pictures, st.none() | st.tuples(st.integers(1, 50), st.integers(1, 50)))
def test_srcset_names_the_width_that_each_rendition_has(picture: Picture, ratio: tuple[int, int] | None) -> None:
    listed = [each.split(" ") for each in srcset(picture, format="webp", ratio=ratio).split(", ")]
    requests = [served(url) for url, _ in listed]
    assert [f"{each.size.width}w" for each in requests] == [width for _, width in listed]
    widths = [each.size.width for each in requests]
    assert widths == sorted(set(widths))
    assert len({each.generation_key for each in requests}) == 1
    assert len({each.rendition_key for each in requests}) == len(listed)


def test_srcset_is_the_rungs_and_the_canvas() -> None:
    widths = re.findall(r"(\d+)w(?:,|$)", srcset(FOX))
    assert widths == ["256", "384", "640", "750", "828", "1024"]
    assert re.findall(r"(\d+)w(?:,|$)", srcset(FOX, widths=(100, 300, 5_000))) == ["128", "384", "1024"]


@given(st.lists(st.integers(1, 4_000), min_size=40, max_size=60))
def test_pages_of_any_widths_ask_for_few_addresses(widths: list[int]) -> None:
    assert len({picture_url(FOX, w=width) for width in widths}) <= sum(rung < FOX.width for rung in WIDTHS) + 1


class Elements(HTMLParser):
    """The elements of a fragment, each with its attributes as a browser reads them."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(fragment)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_markup_offers_each_format_and_reserves_the_room() -> None:
    background = Background(color="#aabbcc", url=placeholder_url(FOX))
    markup = picture_markup(FOX, alt='"A" <fox> & co', ratio=(16, 9), sizes="50vw", background=background)
    (picture, _), (source, webp), (last, img) = Elements(markup).found
    assert [picture, source, last] == ["picture", "source", "img"]
    assert webp["type"] == "image/webp"
    assert {each["sizes"] for each in (webp, img)} == {"50vw"}
    assert img["alt"] == '"A" <fox> & co'
    assert (img["width"], img["height"]) == ("1024", "576")
    assert (img["loading"], img["decoding"]) == ("lazy", "async")
    assert str(img["style"]).startswith(
        'background: #aabbcc url("https://pictures.example.com/1024x768.webp?text=a%20red'
    )
    assert list(img)[-1] == "src"  # a browser that meets it first fetches it
    assert served(str(img["src"])).size == served(str(img["srcset"]).split(", ")[-1].split(" ")[0]).size


def test_one_generation_and_one_signature_are_behind_a_whole_picture() -> None:
    signed = Picture(text="a", width=64, height=64, access="kid=a&exp=3600&sig=b")
    addresses = re.findall(r"/64x64[^ \"]+", picture_markup(signed, alt="").replace("&amp;", "&"))
    assert len({served(url).generation_key for url in addresses}) == 1
    assert all(url.endswith("&kid=a&exp=3600&sig=b") for url in addresses)


@pytest.mark.parametrize(("width", "height"), [(63, 64), (64, 2049)])
def test_canvas_that_is_not_offered_is_refused(width: int, height: int) -> None:
    with pytest.raises(InvalidSize):
        Picture(text="a", width=width, height=height)


def test_wrong_options_are_refused_by_their_name() -> None:
    with pytest.raises(InvalidFormat):
        picture_url(FOX, format="gif")
    with pytest.raises(InvalidDisplay, match="fit is"):
        picture_url(FOX, w=64, h=64, fit="fill")
    with pytest.raises(InvalidDisplay, match="ratio"):
        srcset(FOX, ratio=(0, 1))
    with pytest.raises(InvalidDisplay, match="one width"):
        srcset(FOX, widths=())
    for bad in ("red", "#abc", "#aabbcc;x"):
        with pytest.raises(InvalidDisplay, match="colour"):
            picture_markup(FOX, alt="", background=Background(color=bad))
    with pytest.raises(InvalidDisplay, match="CSS"):
        picture_markup(FOX, alt="", background=Background(url='a")b'))

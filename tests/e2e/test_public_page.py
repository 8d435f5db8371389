"""`examples/public.html`, as somebody copies it: in a real Chromium, over the recommended public mode."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from copperplate.recipes.memoji_words import COLOR_THEMES, FAMILY_TYPES, GESTURES
from tests.standin.turnstile import SITE_KEY
from tests.support.strangers import STRANGERS_SHARE, WISHES, ask, calls, stranger

if TYPE_CHECKING:
    from tests.e2e.served import Served
    from tests.standin.server import Standin
    from tests.standin.sign_ups import SignUps
    from tests.standin.supabase import Supabase
    from tests.standin.turnstile import Turnstile
    from tests.support.browsing import Browser, Site

EXAMPLE = Path(__file__).parents[2] / "examples" / "public.html"
WIDGET_URL = "https://challenges.cloudflare.com/turnstile/**"


@pytest.fixture
def page(site: Site, public_project: Supabase, public_server: Served) -> str:
    """The address of the example with its four lines filled in."""
    return site.fill_in(
        EXAMPLE,
        SUPABASE_URL=public_project.url,
        PUBLISHABLE_KEY=public_project.publishable_key,
        TURNSTILE_SITE_KEY=SITE_KEY,
        PICTURES_URL=public_server.url,
    )


@pytest.fixture
def loaded(library: dict[str, tuple[Path, str]], turnstile: Turnstile, tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Both scripts, the captcha's as its stand-in."""
    widget = tmp_path / "api.js"
    widget.write_text(turnstile.widget())
    return {**library, WIDGET_URL: (widget, "text/javascript")}


def test_page_signs_a_stranger_in_and_shows_the_picture_by_its_plain_address(
    browser: Browser, page: str, loaded: dict[str, tuple[Path, str]], sign_ups: SignUps, standin: Standin
) -> None:
    told = browser.visit(
        page,
        ("choose", "Gesture", "heart"),
        ("check", "I am a person"),
        ("waitForText", "Success!"),
        ("press", "Show it"),
        ("waitForText", "It was made for you."),
        ("statuses",),
        ("picture",),
        ("links",),
        ("focus",),
        ("outline",),
        ("press", "Show it"),
        ("waitForText", "It was made before, and cost nothing."),
        served=loaded,
    )
    assert told["errors"] == []
    statuses, picture, links, focus, outline = told["seen"][5:10]
    assert statuses == ["It was made for you. 2 pictures are left to you."]
    assert picture == {"alt": "grandmother, heart, ocean", "hidden": False, "naturalWidth": 1024, "naturalHeight": 1024}
    assert focus == "Show it"
    assert "I am a person" not in outline
    [address] = links
    assert httpx.get(address).content.startswith(b"\x89PNG")
    assert len(sign_ups.users()) == 1  # signed in once, not for every picture
    assert calls(standin) == 1


def test_page_works_by_keyboard(browser: Browser, page: str, loaded: dict[str, tuple[Path, str]]) -> None:
    told = browser.visit(
        page,
        ("type", "Tab"),
        ("focus",),
        ("type", "ArrowDown"),
        *[("type", "Tab")] * 3,
        ("type", "Space"),
        ("waitForText", "Success!"),
        ("type", "Tab"),
        ("focus",),
        ("type", "Enter"),
        ("waitForText", "It was made for you."),
        ("picture",),
        served=loaded,
    )
    assert told["errors"] == []
    assert told["seen"][1] == "familyType"
    assert told["seen"][9] == "Show it"
    assert told["seen"][-1]["alt"] == "father, wave, ocean"


def test_page_asks_for_the_captcha_before_anything_is_sent(
    browser: Browser, page: str, loaded: dict[str, tuple[Path, str]], sign_ups: SignUps, standin: Standin
) -> None:
    told = browser.visit(
        page, ("press", "Show it"), ("waitForText", "Confirm first"), ("statuses",), ("picture",), served=loaded
    )
    assert told["errors"] == []
    assert told["seen"][2] == ["There is no picture. Confirm first that you are a person."]
    assert told["seen"][3]["hidden"]
    assert sign_ups.users() == []
    assert calls(standin) == 0


def test_page_says_that_a_captcha_was_refused_and_offers_another(
    browser: Browser, page: str, loaded: dict[str, tuple[Path, str]], sign_ups: SignUps, turnstile: Turnstile
) -> None:
    turnstile.is_careless = True
    told = browser.visit(
        page,
        ("check", "I am a person"),
        ("waitForText", "Success!"),
        ("press", "Show it"),
        ("waitForText", "You could not be signed in"),
        ("statuses",),
        ("outline",),
        served=loaded,
    )
    assert "invalid-input-response" in told["seen"][4][0]
    assert 'checkbox "I am a person"' in told["seen"][5]
    assert sign_ups.users() == []


def test_page_says_when_the_share_of_strangers_is_used_up(
    browser: Browser,
    page: str,
    loaded: dict[str, tuple[Path, str]],
    public_server: Served,
    public_project: Supabase,
    turnstile: Turnstile,
) -> None:
    for wish in WISHES[:STRANGERS_SHARE]:
        assert ask(public_server, stranger(public_project, turnstile), wish).status_code == 200
    told = browser.visit(
        page,
        ("choose", "Gesture", "peace"),
        ("check", "I am a person"),
        ("waitForText", "Success!"),
        ("press", "Show it"),
        ("waitForText", "There is no picture."),
        ("statuses",),
        ("picture",),
        served=loaded,
    )
    assert re.search(r"callers it does not know is used up\..* Ask again after \d", told["seen"][5][0])
    assert told["seen"][6]["hidden"]


@pytest.mark.parametrize(("url", "name"), [(WIDGET_URL, "Turnstile"), ("https://cdn.jsdelivr.net/**", "supabase-js")])
def test_page_says_which_script_did_not_load(
    browser: Browser, page: str, loaded: dict[str, tuple[Path, str]], url: str, name: str
) -> None:
    others = {address: answer for address, answer in loaded.items() if not address.startswith(url[:-2])}
    told = browser.visit(
        page, ("waitForText", "could not load"), ("statuses",), ("outline",), served=others | {url: None}
    )
    assert f"could not load {name} from" in told["seen"][1][0]
    assert 'button "Show it" [disabled]' in told["seen"][2]


def test_page_offers_words_that_there_are() -> None:
    offered = {
        name: re.findall(r"<option>([^<]+)</option>", options)
        for name, options in re.findall(r'<select id="(\w+)"[^>]*>(.*?)</select>', EXAMPLE.read_text(), re.DOTALL)
    }
    known = {"familyType": FAMILY_TYPES, "gesture": GESTURES, "colorTheme": COLOR_THEMES}
    assert offered.keys() == known.keys()
    assert all(set(words) <= set(known[name]) for name, words in offered.items())

"""The recommended public mode, end to end: a captcha, a sign-in without a name, a picture, its plain address."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.e2e.served import serving
from tests.standin.turnstile import MAX_TOKEN_CHARS, SECRET
from tests.support.strangers import STRANGERS_SHARE, WISHES, ask, calls, credits_of, run, sign_up, stranger

if TYPE_CHECKING:
    from tests.e2e.served import Served
    from tests.standin.server import Standin
    from tests.standin.sign_ups import SignUps
    from tests.standin.supabase import Supabase
    from tests.standin.turnstile import Turnstile

MEMOJI = {"kind": "memoji", "familyType": "aunt"}
EXAMPLE = Path(__file__).parents[2] / "examples" / "public.html"


@pytest.mark.parametrize("captcha_token", [None, "", "   ", "made up", "x" * (MAX_TOKEN_CHARS + 1)])
def test_without_a_captcha_nobody_signs_in(
    public_project: Supabase, sign_ups: SignUps, captcha_token: str | None
) -> None:
    refused = sign_up(public_project, captcha_token)
    assert (refused.status_code, refused.json()["code"]) == (400, "captcha_failed")
    assert sign_ups.users() == []


def test_a_captcha_is_good_for_one_sign_in(public_project: Supabase, sign_ups: SignUps, turnstile: Turnstile) -> None:
    solved = turnstile.solve()
    assert sign_up(public_project, solved).json()["user"]["is_anonymous"] is True
    again = sign_up(public_project, solved)
    assert again.status_code == 400
    assert "timeout-or-duplicate" in again.json()["message"]
    assert len(sign_ups.users()) == 1
    # Whom Cloudflare is told of, and the secret, which no page knows.
    assert [(sent["secret"], sent["remoteip"]) for sent in turnstile.verified] == [(SECRET, "127.0.0.1")] * 2
    assert SECRET not in EXAMPLE.read_text()


def test_a_captcha_is_good_for_five_minutes(public_project: Supabase, sign_ups: SignUps, turnstile: Turnstile) -> None:
    solved, late = turnstile.solve(), turnstile.solve()
    turnstile.seconds = 290
    assert sign_up(public_project, solved).status_code == 200
    turnstile.seconds = 301
    assert "timeout-or-duplicate" in sign_up(public_project, late).json()["message"]
    assert len(sign_ups.users()) == 1


def test_nobody_signs_in_while_turnstile_does_not_answer(
    public_project: Supabase, sign_ups: SignUps, turnstile: Turnstile
) -> None:
    turnstile.status = 503
    assert sign_up(public_project, turnstile.solve()).status_code == 500
    assert sign_ups.users() == []


def test_strangers_generate_within_their_share_and_leave_the_rest_to_users_and_keys(
    public_server: Served,
    public_variables: dict[str, str],
    public_project: Supabase,
    sign_ups: SignUps,
    turnstile: Turnstile,
    standin: Standin,
    owner_url: str,
) -> None:
    made = []
    for wish in WISHES[:STRANGERS_SHARE]:
        answer = ask(public_server, stranger(public_project, turnstile), wish)
        assert (answer.status_code, answer.json()["cached"], answer.json()["credits"]) == (200, False, 2), answer.text
        made.append(answer.json()["url"])
    assert calls(standin) == STRANGERS_SHARE

    # The share is used up: for a new stranger, with credits and a captcha of their own, too.
    newcomer = stranger(public_project, turnstile)
    refused = ask(public_server, newcomer, WISHES[2])
    assert (refused.status_code, refused.json()["code"]) == (402, "budget_exhausted"), refused.text
    assert (refused.json()["budget"], refused.json()["left_pictures"]) == ("anonymous", 0)
    assert refused.headers["cache-control"] == "no-store"
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["resets_at"].endswith("Z")
    assert calls(standin) == STRANGERS_SHARE
    assert credits_of(public_server, newcomer) == {"balance": 3, "held": 0, "available": 3}

    # What was made is everybody's: by the same wish, and by its plain address without any token.
    again = ask(public_server, newcomer, WISHES[0])
    assert (again.status_code, again.json()["cached"], again.json()["url"]) == (200, True, made[0])
    assert [httpx.get(url).headers["content-type"] for url in made] == ["image/png"] * STRANGERS_SHARE

    # Users and keys spend what strangers cannot reach.
    user = uuid4()
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("select public.grant_credits(%s, 1, 'order 1')", [user])
    theirs = ask(public_server, sign_ups.token_of(user), WISHES[2])
    assert (theirs.status_code, theirs.json()["cached"]) == (200, False), theirs.text
    key = json.loads(run(public_variables, "keys", "create", "--scopes", "generate", "--json"))["key"]
    by_key = public_server.get("/256x256.jpg?text=A%20heron", authorization=f"Bearer {key}")
    assert (by_key.status, by_key.headers["x-cache"]) == (200, "MISS"), by_key.body
    assert calls(standin) == STRANGERS_SHARE + 2
    by_nobody = public_server.get("/256x256.jpg?text=A%20heron")
    assert (by_nobody.status, by_nobody.headers["x-cache"], by_nobody.body) == (200, "HIT", by_key.body)


@pytest.mark.parametrize("wish", [{"kind": "image", "prompt": "A heron", "format": "webp", "w": 256}, MEMOJI])
def test_a_stranger_is_answered_at_once_follows_the_picture_and_shows_its_plain_address(
    public_server: Served,
    public_project: Supabase,
    turnstile: Turnstile,
    standin: Standin,
    wish: dict[str, object],
) -> None:
    token = stranger(public_project, turnstile)
    signed_in, early = {"authorization": f"Bearer {token}"}, {"prefer": "respond-async"}
    address = f"{public_server.url}/api/generate"
    nobody = httpx.post(address, json=wish, headers=early)
    assert (nobody.status_code, calls(standin)) == (401, 0)
    ordered = httpx.post(address, json=wish, headers={**signed_in, **early}, timeout=30)
    assert ordered.status_code == 202, ordered.text
    told = ordered.json()
    assert (token in ordered.text, told["status"] in ("pending", "generating")) == (False, True)
    # Without any credential, as an EventSource asks; a memoji's has a token of its own.
    assert ("?token=" in told["events"]) == (wish["kind"] == "memoji")
    with httpx.stream("GET", told["events"], timeout=30) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        names = [line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event: ")]
    assert names[-1] == "completed"
    assert set(names[:-1]) <= {"progress"}
    looked = httpx.get(public_server.url + ordered.headers["location"], headers=signed_in).json()
    assert (looked["status"], looked["key"]) == ("completed", told["key"])
    shown = httpx.get(told["url"])
    assert (shown.status_code, shown.headers["x-cache"]) == (200, "HIT")
    again = httpx.post(address, json=wish, headers={**signed_in, **early}, timeout=30).json()
    assert (again["cached"], again["url"]) == (True, told["url"])
    assert calls(standin) == 1


def test_nobody_without_a_sign_in_or_a_key_causes_a_call(
    public_server: Served, public_project: Supabase, turnstile: Turnstile, standin: Standin
) -> None:
    refused = public_server.get("/256x256.jpg?text=A%20heron")
    assert (refused.status, json.loads(refused.body)["code"]) == (401, "access_denied")
    assert refused.headers["cache-control"] == "no-store"
    unsigned = httpx.post(f"{public_server.url}/api/generate-memoji", json=WISHES[0])
    assert (unsigned.status_code, unsigned.json()["code"]) == (401, "unauthorized")
    by_body = httpx.post(f"{public_server.url}/api/generate", json={"prompt": "A heron"})
    assert (by_body.status_code, by_body.json()["code"]) == (401, "access_denied")
    assert calls(standin) == 0


def test_one_stranger_is_bounded_by_credits_and_one_address_by_its_share(
    public_variables: dict[str, str], public_project: Supabase, turnstile: Turnstile, standin: Standin, tmp_path: Path
) -> None:
    # A memoji is $0.0148: an address, with a tenth of this, has four.
    bounds = {"COPPERPLATE_ANONYMOUS_BUDGET_USD": "0.665", "COPPERPLATE_ANONYMOUS_BUDGET_PICTURES": "100"}
    variables = {**public_variables, **bounds, "COPPERPLATE_TRUSTED_PROXIES": "127.0.0.1"}
    wishes = [{"hair": hair} for hair in ("long", "curly", "bob", "bun", "afro", "locs")]
    home, away = {"x_forwarded_for": "2001:db8:1:2::3"}, {"x_forwarded_for": "2001:db8:1:3::3"}
    with serving(tmp_path / "bounded", **variables) as server:
        first, second = (stranger(public_project, turnstile) for _ in range(2))
        assert [ask(server, first, wish, **home).status_code for wish in wishes[:3]] == [200] * 3
        spent = ask(server, first, wishes[3], **home)
        assert (spent.status_code, spent.json()["code"]) == (402, "not_enough_credits")
        assert ask(server, second, wishes[3], **home).status_code == 200
        # Another address of the same network, and another stranger's credits, change nothing.
        refused = ask(server, second, wishes[4], x_forwarded_for="2001:db8:1:2:ffff::9")
        assert (refused.status_code, refused.json()["code"]) == (402, "budget_exhausted"), refused.text
        assert refused.json()["budget"] == "address"
        assert "2001:db8" not in refused.text
        assert calls(standin) == 4
        assert ask(server, second, wishes[4], **away).status_code == 200
        # A picture by its address needs no credit, and has the same bounds; of this size it is $0.012.
        heron, bearer = "/2048x2048.jpg?text=A%20heron", {"authorization": f"Bearer {first}"}
        by_address = server.get(heron, **bearer, **{"x-forwarded-for": home["x_forwarded_for"]})
        assert (by_address.status, json.loads(by_address.body)["code"]) == (402, "budget_exhausted")
        assert server.get(heron, **bearer, **{"x-forwarded-for": away["x_forwarded_for"]}).status == 200

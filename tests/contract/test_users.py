"""Who a token is from: over real sockets, against a stand-in for Supabase Auth, on a clock that stands still."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.supabase import keys as supabase_keys
from copperplate.adapters.supabase.users import LOCAL_ISSUER, make_local_token
from copperplate.adapters.system_clock import SystemClock
from copperplate.compose import make_verifier
from copperplate.errors import KeysUnavailable, Misconfigured, Unauthorized
from copperplate.model import User
from copperplate.settings import Settings
from tests.standin.auth import PATH, Auth
from tests.support.forged_tokens import Case, forged, valid
from tests.support.tokens import MISSING, SECRET, USER, Tokens, b64, ec_key, jwk, ours, rsa_key
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from copperplate.ports import Verifier

SOMEBODY = User(id=UUID(USER))
MINUTE, HOUR = 60, 3_600


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def auth() -> Iterator[Auth]:
    with Auth() as auth:
        auth.publish(*ours())
        yield auth


@pytest.fixture
def tokens(auth: Auth, clock: FakeClock) -> Tokens:
    return Tokens(auth.issuer, clock.now())


@pytest.fixture
async def verifier(auth: Auth, clock: FakeClock) -> AsyncIterator[Verifier]:
    """That of a project which signs with keys, and has no secret any more."""
    made = verifier_of(auth, clock)
    yield made
    await made.close()


@pytest.fixture
async def migrating(auth: Auth, clock: FakeClock) -> AsyncIterator[Verifier]:
    """That of a project with keys whose legacy secret is still set."""
    made = verifier_of(auth, clock, SUPABASE_JWT_SECRET=SECRET)
    yield made
    await made.close()


def verifier_of(auth: Auth, clock: FakeClock, **environ: str) -> Verifier:
    return make_verifier(Settings.from_env({"SUPABASE_URL": auth.url, **environ}), clock)


async def accepted(verifier: Verifier, cases: list[Case]) -> list[str]:
    """Which of these open something; others are refused in words that repeat nothing of them."""
    opened = []
    for case in cases:
        try:
            await verifier.verify(case.token)
            opened.append(str(case))
        except (Unauthorized, KeysUnavailable) as refused:
            said = str(refused)
        else:
            continue
        assert not any(part in said for part in case.token.split(".") if len(part) > 8), case
    return opened


async def refuses(verifier: Verifier, token: str) -> bool:
    return await accepted(verifier, [Case(family="", name="", token=token)]) == []


class TestForgedTokens:
    def test_there_are_enough_and_of_every_family(self, tokens: Tokens) -> None:
        cases = forged(tokens)
        assert len({case.family for case in cases}) >= 11
        assert len({str(case) for case in cases}) == len(cases) >= 120

    async def test_none_is_accepted(self, verifier: Verifier, tokens: Tokens) -> None:
        assert await accepted(verifier, forged(tokens)) == []

    async def test_none_is_accepted_while_the_legacy_secret_is_set(self, migrating: Verifier, tokens: Tokens) -> None:
        assert await accepted(migrating, forged(tokens)) == []

    async def test_none_is_accepted_on_one_machine(self, clock: FakeClock) -> None:
        local = make_verifier(Settings.from_env({"SUPABASE_JWT_SECRET": SECRET}), clock)
        issuers = (LOCAL_ISSUER, "http://127.0.0.1:54321/auth/v1")
        # Of the table's issuers one is wrong elsewhere only.
        cases = [case for issuer in issuers for case in forged(Tokens(issuer, clock.now()))]
        assert await accepted(local, [case for case in cases if LOCAL_ISSUER not in case.name]) == []

    async def test_no_depth_of_nesting_is_an_error_of_ours(self, verifier: Verifier, tokens: Tokens) -> None:
        _, claims, signature = tokens.es().split(".")
        for depth in range(1, 1_100):
            header = b'{"alg":"ES256","kid":"ec-1","x":' + b"[" * depth + b"]" * depth + b"}"
            assert await refuses(verifier, f"{b64(header)}.{claims}.{signature}")

    async def test_they_make_us_ask_once_a_minute(
        self, verifier: Verifier, auth: Auth, tokens: Tokens, clock: FakeClock
    ) -> None:
        for _ in range(3):
            await accepted(verifier, forged(tokens))
            await clock.advance(19)
        assert auth.requests == [PATH]
        await clock.advance(3)
        await accepted(verifier, forged(tokens))
        assert auth.requests == [PATH, PATH]


class TestValidTokens:
    async def test_one_of_each_kind_is_accepted(self, verifier: Verifier, auth: Auth, tokens: Tokens) -> None:
        for case in valid(tokens):
            assert (await verifier.verify(case.token)).id == SOMEBODY.id, case
        assert auth.requests == [PATH]

    @pytest.mark.parametrize(
        ("claims", "is_anonymous"),
        [({}, False), ({"is_anonymous": True}, True), ({"is_anonymous": "false"}, True), ({"is_anonymous": 1}, True),
         ({"is_anonymous": None}, False), ({"is_anonymous": MISSING}, False), ({"is_anonymous": {}}, True)],
    )  # fmt: skip
    async def test_whoever_is_not_plainly_known_is_anonymous(
        self, verifier: Verifier, tokens: Tokens, claims: dict[str, Any], is_anonymous: bool
    ) -> None:
        assert (await verifier.verify(tokens.es(**claims))).is_anonymous is is_anonymous

    @pytest.mark.parametrize(
        ("claims", "tier"),
        [
            ({"app_metadata": {"tier": "premium"}}, "premium"),
            ({"app_metadata": {"tier": "Premium "}}, None),
            ({"app_metadata": {"tier": "x" * 33}}, None),
            ({"app_metadata": {"tier": 1}}, None),
            ({"app_metadata": ["tier"]}, None),
            ({"app_metadata": None}, None),
            ({"user_metadata": {"tier": "premium"}}, None),  # which users write themselves
            ({"tier": "premium"}, None),
        ],
    )
    async def test_tier_is_what_the_owner_wrote(
        self, verifier: Verifier, tokens: Tokens, claims: dict[str, Any], tier: str | None
    ) -> None:
        assert (await verifier.verify(tokens.es(**claims))).tier == tier

    async def test_legacy_secret_is_for_those_who_set_it(
        self, verifier: Verifier, migrating: Verifier, auth: Auth, tokens: Tokens
    ) -> None:
        for header in ({}, {"kid": "the-legacy-one"}):
            assert await migrating.verify(tokens.hs(header=header)) == SOMEBODY
            assert await refuses(verifier, tokens.hs(header=header))
        assert auth.requests == []
        assert await migrating.verify(tokens.es()) == SOMEBODY

    async def test_development_token_opens_this_machine_and_no_project(self, migrating: Verifier) -> None:
        # Signed with the project's own secret: only the issuer tells them apart.
        token = make_local_token(SOMEBODY.id, SECRET, seconds=60)
        local = make_verifier(Settings.from_env({"SUPABASE_JWT_SECRET": SECRET}), SystemClock())
        assert await local.verify(token) == SOMEBODY
        assert await refuses(local, make_local_token(SOMEBODY.id, SECRET[::-1], seconds=60))
        assert await refuses(migrating, token)

    async def test_token_ends_half_a_minute_after_its_expiry(
        self, verifier: Verifier, tokens: Tokens, clock: FakeClock
    ) -> None:
        token = tokens.es(exp=tokens.now + 60)
        await clock.advance(89)
        assert await verifier.verify(token) == SOMEBODY
        await clock.advance(1)
        assert await refuses(verifier, token)

    async def test_who_sends_a_key_is_told_what_to_send(self, verifier: Verifier) -> None:
        for key in ("sb_secret_abcdefgh", "sb_publishable_abcdefgh"):
            with pytest.raises(Unauthorized, match=r"key of the project.* access token"):
                await verifier.verify(key)


class TestKeys:
    async def test_hundred_of_them(self, verifier: Verifier, auth: Auth, tokens: Tokens) -> None:
        auth.publish(*(jwk(ec_key(str(number)), f"ec-{number}") for number in range(100)))
        for number in (0, 50, 99):
            assert await verifier.verify(tokens.es(key=ec_key(str(number)), header={"kid": f"ec-{number}"})) == SOMEBODY
        assert await refuses(verifier, tokens.es(key=ec_key("50"), header={"kid": "ec-51"}))

    async def test_those_that_cannot_be_trusted_are_left_out(
        self, verifier: Verifier, auth: Auth, tokens: Tokens
    ) -> None:
        point = jwk(ec_key(), "x")
        p384 = ec.derive_private_key(5, ec.SECP384R1())
        wrong: list[object] = [
            {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
            {"kty": "oct", "k": "c2VjcmV0", "alg": "ES256"},
            {"kty": "EC", "crv": "P-256"},
            {"kty": "OKP", "crv": "Ed25519", "x": point["x"]},
            *({**point, "d": point["x"]}, {**point, "k": "c2VjcmV0"}),
            *({**point, "alg": alg} for alg in ("HS256", "RS256", "ES384", "none", "", None, ["ES256"])),
            *({**point, "crv": crv} for crv in ("P-384", "secp256k1", "", None)),
            *({**point, "x": x} for x in (point["y"], 5, None, "", "é")),
            *({**point, "use": "enc"}, {**point, "kty": ["EC"]}, {**point, "kty": "RSA"}),
            *(jwk(p384, "x", alg="ES384"), jwk(rsa_key(bits=1024), "x")),
            *(jwk(rsa_key(), "x", **change) for change in ({"alg": "PS256"}, {"p": "AQAB"}, {"n": "AA"}, {"e": "AA"})),
            *(None, "x", 1, [], {}),
        ]
        keys = [{**each, "kid": f"wrong-{n}"} if isinstance(each, dict) else each for n, each in enumerate(wrong)]
        auth.publish(*keys, {**point, "kid": "x", "alg": "none"}, {**point, "kid": 1}, *ours())
        assert await verifier.verify(tokens.es()) == SOMEBODY
        assert list(verifier._keys._keys) == ["ec-1", "rsa-1"]  # type: ignore[attr-defined]

    async def test_shared_key_in_the_set_verifies_nothing(self, verifier: Verifier, auth: Auth, tokens: Tokens) -> None:
        auth.publish({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "shared"}, *ours())
        assert await refuses(verifier, tokens.hs(secret=b"secret", header={"kid": "shared"}))
        assert await refuses(verifier, tokens.es(header={"kid": "shared"}))

    async def test_new_one_is_known_within_a_minute_and_a_revoked_one_forgotten_within_ten(
        self, verifier: Verifier, auth: Auth, tokens: Tokens, clock: FakeClock
    ) -> None:
        assert await verifier.verify(tokens.es()) == SOMEBODY
        auth.publish(jwk(ec_key("next"), "next"), *ours())
        successor = tokens.es(key=ec_key("next"), header={"kid": "next"})
        await clock.advance(MINUTE - 1)
        with pytest.raises(KeysUnavailable):
            await verifier.verify(successor)
        await clock.advance(1)
        assert await verifier.verify(successor) == SOMEBODY
        auth.publish(jwk(ec_key("next"), "next"))
        await clock.advance(10 * MINUTE - 1)
        assert await verifier.verify(tokens.es()) == SOMEBODY
        await clock.advance(1)
        for _ in range(2):
            with pytest.raises(Unauthorized):
                await verifier.verify(tokens.es())
        assert await verifier.verify(successor) == SOMEBODY
        assert auth.requests == [PATH] * 3

    async def test_unknown_one_is_no_fault_of_the_token_until_keys_were_fetched_for_it(
        self, verifier: Verifier, auth: Auth, tokens: Tokens, clock: FakeClock
    ) -> None:
        assert await verifier.verify(tokens.es()) == SOMEBODY
        rotated = tokens.es(key=ec_key("next"), header={"kid": "next"})
        for seconds in range(10, 60, 10):
            await clock.advance(10)
            with pytest.raises(KeysUnavailable) as refused:
                await verifier.verify(rotated)
            assert (refused.value.http_status, refused.value.retry_after_seconds) == (503, 60 - seconds)
        await clock.advance(10)
        with pytest.raises(Unauthorized):
            await verifier.verify(rotated)
        assert auth.requests == [PATH] * 2

    async def test_what_another_project_issued_makes_nobody_ask(
        self, verifier: Verifier, auth: Auth, tokens: Tokens
    ) -> None:
        for token in (
            tokens.es(iss="https://other.example/auth/v1", header={"kid": "unknown"}),
            tokens.es(exp=1, header={"kid": "unknown"}),
        ):
            with pytest.raises(Unauthorized):
                await verifier.verify(token)
        assert auth.requests == []

    async def test_are_asked_for_once_however_many_wait(self, verifier: Verifier, auth: Auth, tokens: Tokens) -> None:
        auth.gate.clear()
        waiting = [asyncio.create_task(verifier.verify(tokens.es())) for _ in range(200)]
        while not auth.requests:
            await asyncio.sleep(0.005)
        # Whoever came first leaves; the others lose nothing, and nobody asks again.
        waiting.pop(0).cancel()
        await asyncio.sleep(0)
        auth.gate.set()
        assert set(await asyncio.gather(*waiting)) == {SOMEBODY}
        assert auth.requests == [PATH]

    async def test_are_kept_for_a_day_while_auth_is_down(
        self, verifier: Verifier, auth: Auth, clock: FakeClock
    ) -> None:
        tokens = Tokens(auth.issuer, clock.now())
        assert await verifier.verify(tokens.es()) == SOMEBODY
        auth.close()
        await clock.advance(24 * HOUR - 1)
        later = Tokens(auth.issuer, clock.now())
        assert await verifier.verify(later.es()) == SOMEBODY
        assert await refuses(verifier, later.es(header={"kid": "unknown"}))
        await clock.advance(1)
        with pytest.raises(KeysUnavailable):
            await verifier.verify(later.es())

    async def test_while_old_ones_do_a_failing_auth_is_asked_once_a_minute(
        self, verifier: Verifier, auth: Auth, tokens: Tokens, clock: FakeClock
    ) -> None:
        assert await verifier.verify(tokens.es()) == SOMEBODY
        auth.answer(b"", status=500)
        await clock.advance(10 * MINUTE)
        for _ in range(60):
            assert await verifier.verify(tokens.es()) == SOMEBODY
            assert await refuses(verifier, tokens.es(header={"kid": "unknown"}))
            await clock.advance(1)
        assert auth.requests == [PATH] * 2

    @pytest.mark.parametrize(
        ("body", "status", "headers"),
        [
            (b"", 200, {}),
            (b"<!doctype html><title>Just a moment</title>", 200, {"content-type": "text/html"}),
            (b"null", 200, {}),
            (b"[]", 200, {}),
            (b'"keys"', 200, {}),
            (b"{}", 200, {}),
            (b'{"keys":{}}', 200, {}),
            (b'{"keys":null}', 200, {}),
            (b'{"message":"not found"}', 404, {}),
            (json.dumps({"keys": ours()}).encode(), 404, {}),
            (json.dumps({"keys": ours()}).encode(), 500, {}),
            (b"", 302, {"location": "http://169.254.169.254/"}),
            (json.dumps({"keys": ours()}).encode("utf-16")[1:], 200, {}),
            (b"[" * 50_000, 200, {}),
            (b'{"keys":' + b"[" * 5_000, 200, {}),
            (json.dumps({"keys": ours(), "x": "y" * 65_536}).encode(), 200, {}),
            (b" " * 3_000_000, 200, {}),
            (gzip.compress(b" " * 60_000_000), 200, {"content-encoding": "gzip"}),
            (gzip.compress(json.dumps({"keys": ours()}).encode()), 200, {"content-encoding": "gzip"}),
        ],
        ids=range(19),
    )
    async def test_an_answer_that_is_none_changes_nothing(
        self,
        auth: Auth,
        tokens: Tokens,
        clock: FakeClock,
        body: bytes,
        status: int,
        headers: dict[str, str],
    ) -> None:
        verifier = verifier_of(auth, clock)
        auth.answer(body, status, **headers)
        with pytest.raises(KeysUnavailable):
            await verifier.verify(tokens.es())
        auth.publish(*ours())
        await clock.advance(supabase_keys.RETRY_SECONDS)
        assert await verifier.verify(tokens.es()) == SOMEBODY
        auth.answer(body, status, **headers)
        await clock.advance(10 * MINUTE)
        assert await verifier.verify(tokens.es()) == SOMEBODY
        assert auth.requests == [PATH] * 3
        await verifier.close()

    async def test_slow_answer_is_given_up_and_the_old_keys_used(
        self, verifier: Verifier, auth: Auth, tokens: Tokens, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert await verifier.verify(tokens.es()) == SOMEBODY
        monkeypatch.setattr(supabase_keys, "FETCH_SECONDS", 0.1)
        auth.gate.clear()
        await clock.advance(10 * MINUTE)
        assert await asyncio.wait_for(verifier.verify(tokens.es()), wall(2)) == SOMEBODY
        assert auth.requests == [PATH] * 2

    async def test_no_others_than_published_are_kept_after_a_move_to_none(
        self, verifier: Verifier, auth: Auth, tokens: Tokens, clock: FakeClock
    ) -> None:
        assert await verifier.verify(tokens.es()) == SOMEBODY
        auth.publish()
        await clock.advance(10 * MINUTE)
        assert await refuses(verifier, tokens.es())


class TestNobody:
    async def test_server_without_users_names_what_to_set(self, clock: FakeClock) -> None:
        nobody = make_verifier(Settings.from_env({}), clock)
        with pytest.raises(Misconfigured, match="SUPABASE_URL"):
            await nobody.verify("a.b.c")
        await nobody.close()

    @pytest.mark.parametrize("module", ["jwt", "cryptography", "httpx"])
    async def test_extra_that_is_not_installed_is_named_and_nothing_else_suffers(
        self, clock: FakeClock, module: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == module else object())
        nobody = make_verifier(Settings.from_env({"SUPABASE_JWT_SECRET": SECRET}), clock)
        with pytest.raises(Misconfigured, match=r"copperplate\[users\]"):
            await nobody.verify("a.b.c")

    async def test_address_that_no_client_can_read_is_no_error_of_ours(self, clock: FakeClock) -> None:
        settings = Settings.from_env({"SUPABASE_URL": "https://two..points.example/é"})
        verifier = make_verifier(settings, clock)
        with pytest.raises(KeysUnavailable):
            await verifier.verify(Tokens(f"{settings.supabase_url}/auth/v1", clock.now()).es())
        await verifier.close()

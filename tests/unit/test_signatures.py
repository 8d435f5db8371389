"""Signed URLs: what a signature stands for, what it is worth, and what it leaves open."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from copperplate.access.signatures import (
    Judgement,
    SigningKey,
    SigningKeys,
    Verdict,
    round_expiry,
    sign,
    sign_url,
    verify,
)
from copperplate.errors import InvalidRequest, InvalidText, Misconfigured, NotFound
from copperplate.recipes.url import UrlSignature, parse_picture_query

NEW = SigningKey(key_id="new", secret="n" * 32)
OLD = SigningKey(key_id="old-1", secret="o" * 40)
KEYS = SigningKeys((NEW, OLD))
GENERATION = "3ed7e497928c80824cc3ff3ce48549c26f75c151f10b38b639293a284ffb24c3"
OTHER_GENERATION = "2c5144f222a905acbfdaf59789bb4727d38ebf7fb40abd940f9ee0a41e723cc5"
NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
IN_AN_HOUR = NOW + timedelta(hours=1)
EXPIRES = 1_796_043_600
URL = "/1024x1024.jpg?text=A%20beautiful%20sunset%20over%20the%20sea"

FORGED = Judgement(verdict=Verdict.FORGED)
VALID = Judgement(verdict=Verdict.VALID, key_id="new")


def judge(signature: UrlSignature, generation: str = GENERATION, now: datetime = NOW) -> Judgement:
    return verify(signature, generation, keys=KEYS, now=now)


@pytest.mark.parametrize("ending", ["jpg", "avif", "auto"])
@pytest.mark.parametrize("display", ["", "&w=640", "&w=640&h=640&fit=contain&q=40", "&thumb=96"])
def test_every_form_of_a_picture_has_the_same_signature(ending: str, display: str) -> None:
    url = URL.replace(".jpg", f".{ending}") + display
    signed = sign_url(url, key=NEW, expires_at=IN_AN_HOUR)
    assert signed.url == f"{url}&{sign(GENERATION, NEW, IN_AN_HOUR).as_query()}"


@pytest.mark.parametrize("ending", ["jpg", "auto"])
def test_what_no_server_would_answer_is_not_signed(ending: str) -> None:
    for display in ("w=0", "h=64", "q=101", "w=64&w=64"):
        with pytest.raises(InvalidRequest):
            sign_url(f"/64x64.{ending}?text=a&{display}", key=NEW, expires_at=IN_AN_HOUR)


# --- signing and judging -------------------------------------------------------------------------


def test_a_signature_is_the_hmac_of_version_key_expiry_and_generation() -> None:
    signed = sign(GENERATION, NEW, IN_AN_HOUR)
    message = f"copperplate-url-v1\nnew\n{EXPIRES}\n{GENERATION}".encode()
    expected = urlsafe_b64encode(hmac.new(b"n" * 32, message, sha256).digest()).decode().rstrip("=")
    assert signed == UrlSignature(key_id="new", expires=str(EXPIRES), signature=expected)
    assert signed.as_query() == f"kid=new&exp={EXPIRES}&sig={expected}"


@pytest.mark.parametrize("key", [NEW, OLD])
def test_both_keys_are_valid_while_one_replaces_the_other(key: SigningKey) -> None:
    assert judge(sign(GENERATION, key, IN_AN_HOUR)) == Judgement(verdict=Verdict.VALID, key_id=key.key_id)
    assert verify(sign(GENERATION, key, IN_AN_HOUR), GENERATION, keys=SigningKeys(), now=NOW) == FORGED


def test_a_signature_is_valid_until_the_very_moment_it_expires() -> None:
    signed = sign(GENERATION, NEW, IN_AN_HOUR)
    assert judge(signed, now=IN_AN_HOUR - timedelta(microseconds=1)) == VALID
    for late in (timedelta(0), timedelta(days=9_000)):
        assert judge(signed, now=IN_AN_HOUR + late) == Judgement(verdict=Verdict.EXPIRED, key_id="new")


def test_an_expiry_that_is_over_does_not_hide_a_forgery() -> None:
    signed = sign(GENERATION, NEW, NOW)
    assert judge(signed, OTHER_GENERATION) == FORGED
    assert judge(replace(signed, expires=str(int(signed.expires) - 3_600))) == FORGED


@pytest.mark.parametrize("seconds", [3_600, 3_599, 1, 1e-6])
def test_expiry_is_rounded_up_to_the_hour(seconds: float) -> None:
    assert sign(GENERATION, NEW, NOW + timedelta(seconds=seconds)) == sign(GENERATION, NEW, IN_AN_HOUR)
    assert round_expiry(NOW + timedelta(seconds=seconds)) == IN_AN_HOUR
    assert round_expiry(NOW) == NOW


def test_expiry_is_the_same_hour_in_every_time_zone() -> None:
    from datetime import timezone

    kolkata = timezone(timedelta(hours=5, minutes=30))
    assert sign(GENERATION, NEW, IN_AN_HOUR.astimezone(kolkata)) == sign(GENERATION, NEW, IN_AN_HOUR)


@pytest.mark.parametrize("when", [datetime(1969, 12, 31, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)])
def test_nothing_is_signed_that_could_not_be_verified(when: datetime) -> None:
    with pytest.raises(ValueError, match="1970"):
        sign(GENERATION, NEW, when)


SIGNED = sign(GENERATION, NEW, IN_AN_HOUR)


@pytest.mark.parametrize(
    "wrong",
    [
        UrlSignature(),
        *(replace(SIGNED, key_id=key_id) for key_id in ("", "old-1", "NEW", "new ", " new", "new\n", "new\0", "ｎew")),
        *(
            replace(SIGNED, expires=expires)
            for expires in (
                *("", "0", f"0{EXPIRES}", f"+{EXPIRES}", f"-{EXPIRES}", f" {EXPIRES}", f"{EXPIRES}\n", f"{EXPIRES}.0"),
                *(
                    f"{EXPIRES + 3_600}",
                    f"{EXPIRES + 1}",
                    f"{EXPIRES - 3_600}",
                    "1_796_043_600",
                    "1.7960436e9",
                    "9" * 5_000,
                ),
                *("١٧٩٦٠٤٣٦٠٠", "１７９６０４３６００", f"{EXPIRES}\u0660", hex(EXPIRES)),
            )
        ),
        *(
            replace(SIGNED, signature=signature)
            for signature in (
                *("", SIGNED.signature[:-1], SIGNED.signature + "=", SIGNED.signature + "A", SIGNED.signature + "\n"),
                *(SIGNED.signature.upper(), SIGNED.signature.lower(), "A" * 43, SIGNED.signature[1:], "é" * 43),
                *(SIGNED.signature.replace("-", "+").replace("_", "/"), f" {SIGNED.signature}", "\ud800" * 43),
            )
            if signature != SIGNED.signature
        ),
    ],
)
def test_another_form_is_a_forgery_and_never_a_fault(wrong: UrlSignature) -> None:
    assert judge(wrong) == FORGED


@pytest.mark.parametrize("expires", [f"{EXPIRES + 1}", f"0{EXPIRES}", f"{EXPIRES}.0", "", "1796043600000"])
def test_an_expiry_in_another_form_is_a_forgery_even_where_it_was_signed(expires: str) -> None:
    message = f"copperplate-url-v1\nnew\n{expires}\n{GENERATION}".encode()
    signature = urlsafe_b64encode(hmac.digest(b"n" * 32, message, "sha256")).decode().rstrip("=")
    assert judge(UrlSignature(key_id="new", expires=expires, signature=signature)) == FORGED


def test_the_spare_bits_of_the_last_character_have_one_spelling() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    accepted = [last for last in alphabet if judge(replace(SIGNED, signature=SIGNED.signature[:-1] + last)) != FORGED]
    assert accepted == [SIGNED.signature[-1]]


def test_a_secret_is_in_no_repr() -> None:
    assert "nnnn" not in repr(KEYS)
    assert SIGNED.signature not in repr(SIGNED)


def test_the_first_key_signs_unless_another_is_named() -> None:
    assert (KEYS.signing_key(), KEYS.signing_key("old-1")) == (NEW, OLD)
    with pytest.raises(Misconfigured, match="'gone'"):
        KEYS.signing_key("gone")
    with pytest.raises(Misconfigured, match="COPPERPLATE_URL_SIGNING_KEYS"):
        SigningKeys.of(None).signing_key()


# --- whole URLs ----------------------------------------------------------------------------------


def query_of(url: str, key: SigningKey = NEW) -> str:
    return sign_url(url, key=key, expires_at=IN_AN_HOUR).url.partition("?")[2]


@pytest.mark.parametrize(
    "url",
    [
        *(URL, URL.replace("jpg", "jpeg"), URL.replace("jpg", "png"), URL.replace("jpg", "webp")),
        *(f"https://pictures.example{URL}", URL.replace("%20", "+"), URL.replace("text", "prompt"), f"{URL}+"),
        *(f"{URL}&utm_source=mail", f"{URL}&model=fal-ai/flux/schnell", f"{URL}&seed=", f"{URL}#top"),
        *(f"{URL}&exp=1&sig=x", "/1024x1024.jpg?text=A beautiful\tsunset over the sea"),
    ],
)
def test_every_spelling_of_a_picture_has_one_signature(url: str) -> None:
    signed = sign_url(url, key=NEW, expires_at=IN_AN_HOUR)
    assert signed.picture_request.generation_key == GENERATION
    assert parse_picture_query(signed.url.partition("#")[0].partition("?")[2].encode()).signature == SIGNED


@pytest.mark.parametrize("url", [f"{URL}&seed=1", f"{URL}&model=painter", URL.replace("1024x", "512x"), f"{URL}."])
def test_another_picture_has_another_signature(url: str) -> None:
    assert sign_url(url, key=NEW, expires_at=IN_AN_HOUR).picture_request.generation_key != GENERATION


def test_a_url_is_left_as_it_was_written_but_for_its_signature() -> None:
    spelled = "https://me@h.example:8/64x64.jpg?b=%zz&text=a+%C3%A9&&c=1&s%69g=old&kid=old#f?x"
    left = "https://me@h.example:8/64x64.jpg?b=%zz&text=a+%C3%A9&c=1&kid=new&exp="
    signed = sign_url(spelled, key=NEW, expires_at=IN_AN_HOUR).url
    assert signed.startswith(left)
    assert signed.endswith("#f?x")
    assert sign_url(signed, key=NEW, expires_at=IN_AN_HOUR).url == signed


def test_what_no_url_can_hold_is_encoded() -> None:
    assert query_of('/64x64.jpg?text=a "é" <b>\\').startswith("text=a%20%22%C3%A9%22%20%3Cb%3E%5C&kid=new&")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        *(("", NotFound), ("/", NotFound), ("/api/cache/stats", NotFound), ("/v1/64x64.jpg?text=a", NotFound)),
        *((url, InvalidText) for url in ("/64x64.jpg", "/64x64.jpg?text=", "/64x64.jpg?sig=x", "/64x64.jpg?text=%01")),
        *((url, InvalidRequest) for url in ("/63x64.jpg?text=a", "/64x64.gif?text=a", "/64x64.jpg?text=a&text=a")),
        *(
            (url, InvalidRequest)
            for url in ("/64x64.jpg?text=%FF", "/64x64.jpg?text=\ud800", "/64x64.jpg?text=a&seed=x")
        ),
        ("/64x64.jpg?text=a" + "&u" * 97, InvalidRequest),
        ("/64x64.jpg?text=" + "+" * 16_360 + "a", InvalidRequest),
    ],
)
def test_what_a_server_would_refuse_is_not_signed(url: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        sign_url(url, key=NEW, expires_at=IN_AN_HOUR)


def test_what_is_signed_is_what_the_server_would_make_of_it() -> None:
    signed = sign_url(
        URL, key=NEW, expires_at=IN_AN_HOUR, default_model="house", model_parameters=lambda model: (f"of={model}",)
    )
    assert signed.picture_request.recipe["settings"] == ["of=house"]
    assert (signed.key_id, signed.expires_at) == ("new", IN_AN_HOUR)

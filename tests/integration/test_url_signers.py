"""Python, SQL and TypeScript sign one way: the vectors that whoever else signs can be held to, and random addresses."""

from __future__ import annotations

import hmac
import json
import random
import re
import unicodedata
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import psycopg
import pytest

from copperplate.access.signatures import SigningKeys, Verdict, sign, sign_url, verify
from copperplate.errors import CopperplateError
from copperplate.recipes.url import in_format, parse_picture_query, parse_picture_url, split_url
from tests.support import signature_vectors
from tests.support.signature_vectors import settings_of

if TYPE_CHECKING:
    from tests.support.typescript_client import Call, TypescriptClient

DOCUMENT: Final = json.loads(signature_vectors.FILE.read_text())
SIGNED: Final[list[dict[str, Any]]] = DOCUMENT["signed"]
REFUSED: Final[list[dict[str, Any]]] = DOCUMENT["refused"]
KEYS: Final = SigningKeys.of(DOCUMENT["keys"].items())
SETTINGS: Final = {key_id: f"{key_id}:{secret}" for key_id, secret in DOCUMENT["keys"].items()}
RANDOM_URLS: Final = 4_000
FORMATS: Final = ("jpg", "jpeg", "png", "webp", "gif", "avif", "auto")


def models_of(vector: dict[str, Any]) -> dict[str, Any]:
    return {"defaultModel": vector["default_model"], "settings": DOCUMENT["models"]}


# --- the vectors ---------------------------------------------------------------------------------


def test_there_are_vectors_of_every_sort() -> None:
    assert len(SIGNED) >= 40
    assert {vector["key_id"] for vector in SIGNED} == set(DOCUMENT["keys"])
    of_the_first = [vector["signed_url"] for vector in SIGNED if vector["sig"] == SIGNED[0]["sig"]]
    assert len(set(of_the_first)) >= 10
    assert {re.sub(r".*\.|%2E|\?.*", "", url) for url in of_the_first} >= {"jpg", "jpeg", "png", "webp", "avif", "auto"}


def test_the_first_vector_is_signed_as_the_decision_says() -> None:
    vector = SIGNED[0]
    assert vector["generation_key"] == "3ed7e497928c80824cc3ff3ce48549c26f75c151f10b38b639293a284ffb24c3"
    message = f"copperplate-url-v1\n2026-11\n1796040000\n{vector['generation_key']}"
    expected = hmac.new(DOCUMENT["keys"]["2026-11"].encode(), message.encode(), sha256).digest()
    assert vector["sig"] == urlsafe_b64encode(expected).decode().rstrip("=")


@pytest.mark.parametrize("vector", SIGNED, ids=lambda vector: vector["name"])
def test_python_signs_as_the_vectors_say_and_takes_what_they_signed(vector: dict[str, Any]) -> None:
    expires_at = datetime.fromisoformat(vector["expires_at"])
    key = KEYS.signing_key(vector["key_id"])
    signed = sign_url(
        vector["url"],
        key=key,
        expires_at=expires_at,
        default_model=vector["default_model"],
        model_parameters=settings_of,
    )
    assert signed.url == vector["signed_url"]
    assert signed.picture_request.generation_key == vector["generation_key"]
    signature = parse_picture_query(split_url(vector["signed_url"])[1].encode()).signature
    assert signature == sign(vector["generation_key"], key, expires_at)
    assert (signature.expires, signature.signature) == (vector["exp"], vector["sig"])
    judgement = verify(signature, vector["generation_key"], keys=KEYS, now=datetime.fromisoformat("1970-01-01T00:00Z"))
    assert (judgement.verdict, judgement.key_id) == (Verdict.VALID, vector["key_id"])


@pytest.mark.parametrize("vector", REFUSED, ids=lambda vector: vector["name"])
def test_python_refuses_what_the_vectors_refuse(vector: dict[str, Any]) -> None:
    with pytest.raises(CopperplateError):
        sign_url(vector["url"], key=KEYS.signing_key(), expires_at=datetime.fromisoformat(SIGNED[0]["expires_at"]))


def test_the_file_is_what_its_cases_give() -> None:
    made = signature_vectors.document()
    assert made == signature_vectors.FILE.read_text(), "run .venv/bin/python -m tests.support.signature_vectors"


# --- SQL -----------------------------------------------------------------------------------------

PARTS: Final = ("prompt", "width", "height", "format", "model", "seed", "settings")
CALL: Final = (
    "select public.sign_picture_url(p_key_id => %(key_id)s, p_secret => %(secret)s, p_expires_at => %(expires_at)s,"
    + ", ".join(f" p_{name} => %({name})s" for name in PARTS)
    + ")"
)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_sql_signs_as_the_vectors_say(owner_url: str, zone: str) -> None:
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(f"set timezone = '{zone}'".encode())
        for vector in SIGNED:
            secret = DOCUMENT["keys"][vector["key_id"]]
            row = owner.execute(CALL.encode(), {**vector, **vector["parts"], "secret": secret}).fetchone()
            assert row is not None
            url = str(row[0])
            assert url.endswith(f"&kid={vector['key_id']}&exp={vector['exp']}&sig={vector['sig']}"), vector["name"]
            path, query = split_url(url)
            read = parse_picture_url(
                in_format(path), query.encode(), default_model=vector["default_model"], model_parameters=settings_of
            )
            assert read is not None
            assert read.picture_request.generation_key == vector["generation_key"], vector["name"]


def test_question_of_sql_editors_answers_an_address_that_is_valid(owner_url: str) -> None:
    text = (Path(__file__).parents[2] / "sql" / "sign_url.sql").read_text()
    secret = "s3cret-of-that-id-which-is-long-enough"
    with psycopg.connect(owner_url) as owner:
        row = owner.execute(text.replace("PUT-THE-SECRET-OF-THAT-ID-HERE-----", secret).encode()).fetchone()
    assert row is not None
    read = parse_picture_query(split_url(row[0])[1].encode())
    assert read.signature is not None
    judgement = verify(
        read.signature,
        SIGNED[0]["generation_key"],
        keys=SigningKeys.of([("2026-11", secret)]),
        now=datetime.now(UTC),
    )
    assert judgement.verdict is Verdict.VALID


# --- TypeScript ----------------------------------------------------------------------------------


def test_typescript_signs_as_the_vectors_say(typescript: TypescriptClient) -> None:
    calls = [(each["url"], SETTINGS[each["key_id"]], models_of(each), each["expires_at"]) for each in SIGNED]
    for vector, answer in zip(SIGNED, typescript.sign(*calls), strict=True):
        assert answer == {"url": vector["signed_url"], "key": vector["generation_key"], "refusal": None}, vector["name"]


def test_typescript_refuses_what_the_vectors_refuse_and_repeats_neither_text_nor_secret(
    typescript: TypescriptClient,
) -> None:
    calls: list[Call] = [(each["url"], SETTINGS["old"], {}, NOON) for each in REFUSED]
    for vector, answer in zip(REFUSED, typescript.sign(*calls), strict=True):
        assert answer["url"] is None, vector["name"]
        assert answer["refusal"], vector["name"]
    [answer] = typescript.sign(("/64x64.jpg?text=hunter2%07&seed=hunter3", SETTINGS["old"], {}, NOON))
    assert "hunter" not in str(answer["refusal"])


NOON: Final = SIGNED[0]["expires_at"]


def test_typescript_signs_for_thirty_days_unless_told_otherwise(typescript: TypescriptClient) -> None:
    [answer] = typescript.sign(("/64x64.jpg?text=a", SETTINGS["old"], {}, None))
    found = re.search(r"&exp=([0-9]+)&", str(answer["url"]))
    assert found is not None
    days = (int(found[1]) - datetime.now(UTC).timestamp()) / 86_400
    assert 29.9 < days < 30.1


@pytest.mark.parametrize(
    "setting",
    [
        *("", "a", "a:short", f"A:{'s' * 32}", f":{'s' * 32}", f"a:{'s' * 31}", f"a:{'s' * 32} x", f"a:{'é' * 32}"),
        *(f"{'a' * 17}:{'s' * 32}", f"a:{'s' * 32},", f"a:{'s' * 32}\n{'s' * 32}"),
    ],
)
def test_typescript_signs_with_no_key_that_the_server_would_refuse(typescript: TypescriptClient, setting: str) -> None:
    [answer] = typescript.sign(("/64x64.jpg?text=a", setting, {}, NOON))
    assert answer["url"] is None


@pytest.mark.parametrize("expires_at", ["1970-01-01T00:00:00Z", "1969-01-01T00:00:00Z", "never"])
def test_typescript_signs_nothing_that_could_not_be_verified(typescript: TypescriptClient, expires_at: str) -> None:
    [answer] = typescript.sign(("/64x64.jpg?text=a", SETTINGS["old"], {}, expires_at))
    assert answer["url"] is None


def letters() -> list[str]:
    """Code points that every supported Python, node and Postgres knows."""
    assigned = [chr(code) for code in range(0x20, 0x1F800) if unicodedata.category(chr(code)) not in {"Cn", "Cs", "Co"}]
    composing = [each for each in assigned if unicodedata.combining(each) or unicodedata.decomposition(each)[:1] > "0"]
    return [*assigned, *composing * 2, *"aeou ABC\t\n\u3000" * 200]


def random_url(rng: random.Random, alphabet: list[str]) -> str:
    """An address, mostly right; each part of it is spelled in one of many ways."""
    side = str(rng.choice((64, 65, 512, 1_024, 2_048, rng.randint(60, 2_060))))
    path = f"/{side}x{rng.choice((side, '512'))}.{rng.choice(FORMATS)}"
    text = "".join(rng.choices(alphabet, k=rng.choice((1, 3, 10, 60))))
    spelled = rng.choice((quote(text), quote(text).lower(), quote(text).replace("%20", "+"), text.replace("#", "")))
    parts = [f"{rng.choice(('text', 'text', 'text', 'prompt', 'te%78t', 'Text'))}={spelled}"]
    parts += rng.sample(
        [
            *("seed=7", "seed=007", "seed=", "seed=x", "seed=%30", "model=painter", "model=", "model=a%20b", "sig=x"),
            *("utm=%FF", "%FF", "exp=1", "model=fal-ai%2fflux%2fdev", "kid=x", "u=a=b", "", "=", "&&", "%", "text=a"),
            *("w=640", "h=64", "w=0", "q=40", "q=101", "fit=contain", "fit=", "thumb=9", "thumb=09", "%77=1"),
            *("placeholder", "placeholder=1", "placeholder=2"),
            *("seed=%FF", f"seed={2**64 - rng.randint(0, 1)}", "model=fal-ai/flux/schnell", "s%69g=%FF"),
        ],
        k=rng.choice((0, 0, 1, 2, 3)),
    )
    rng.shuffle(parts)
    return path + "?" + "&".join(parts)


def test_typescript_makes_the_keys_of_random_addresses_that_python_makes(typescript: TypescriptClient) -> None:
    rng, alphabet = random.Random(45), letters()
    urls = [random_url(rng, alphabet) for _ in range(RANDOM_URLS)]
    calls = [(url, SETTINGS["2026-11"], {"settings": DOCUMENT["models"]}, NOON) for url in urls]
    refused = 0
    for url, answer in zip(urls, typescript.sign(*calls), strict=True):
        try:
            expires_at = datetime.fromisoformat(NOON)
            signed = sign_url(url, key=KEYS.signing_key(), expires_at=expires_at, model_parameters=settings_of)
        except CopperplateError:
            refused += 1
            assert answer["url"] is None, url
        else:
            assert (answer["url"], answer["key"]) == (signed.url, signed.picture_request.generation_key), url
    assert 0.1 < refused / RANDOM_URLS < 0.6  # neither agrees by refusing everything

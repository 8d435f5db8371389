"""Every way in which PostgREST, a gateway or the network can refuse a call, as our errors, over real sockets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, LiteralString

import aiohttp
import httpx
import psycopg
import pytest

from copperplate.adapters.ledger import postgrest
from copperplate.adapters.ledger.postgrest import PostgrestLedger, PostgrestTransport
from copperplate.adapters.ledger.postgrest_errors import ERRORS, Garbled, Refused, translate
from copperplate.adapters.supabase.http import make_client
from copperplate.denials import TooManyOpenWishes
from copperplate.errors import CopperplateError, LedgerMisconfigured, LedgerUnavailable
from copperplate.ledger_answers import Miss
from copperplate.local.bootstrap import create_database
from tests.standin.wire import Wire, page, say
from tests.support.pictures import picture_request
from tests.support.postgrest_server import PostgrestServer, make_jwt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from copperplate.local.cluster import Cluster
    from tests.standin.supabase import Supabase

KEY, RENDITION = picture_request().generation_key, picture_request().rendition_key
WORDS = "their own words, which may quote a prompt"
REFUSALS = [
    pytest.param(sign, ours, resend, id=str(sign))
    for signs, ours, resend, _ in ERRORS
    if isinstance(signs, tuple)
    for sign in signs
]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with make_client() as made:
        yield made


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """A server that answers only what a test tells it to."""
    async with Wire("http://127.0.0.1:9") as strung:
        yield strung


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgrest, "PAUSES_SECONDS", (0.0, 0.0, 0.0))


async def refusal(transport: PostgrestTransport, function: LiteralString, **arguments: Any) -> CopperplateError:
    with pytest.raises(CopperplateError) as caught:
        await transport.value(function, arguments, object)
    error = caught.value
    assert "prompt" not in f"{error}{error.__cause__}{error.__cause__!r}"
    return error


# --- the table -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_no_pauses")
@pytest.mark.parametrize(("sign", "ours", "resend"), REFUSALS)
async def test_refusal_is_ours_and_sent_again_only_where_that_may_help(
    client: httpx.AsyncClient, wire: Wire, sign: str | int, ours: type[Exception], resend: bool
) -> None:
    told = json.dumps({"code": sign, "message": WORDS, "details": WORDS, "hint": None}).encode()
    fault = say(500, told) if isinstance(sign, str) else page(sign)
    wire.faults.extend([fault] * 4)
    error = await refusal(PostgrestTransport(client, wire.url, "sb_secret_x"), "anything")
    assert type(error) is ours
    assert len(wire.sent) == (4 if resend else 1)
    # What a person has to mend is not mended by asking again.
    assert not resend or ours is LedgerUnavailable


@pytest.mark.parametrize(
    "fault",
    [
        say(418, json.dumps({"message": WORDS}).encode()),
        say(409, json.dumps({"code": "23505", "message": WORDS, "details": f"Key ({WORDS}) exists"}).encode()),
        say(500, json.dumps({"code": 7, "message": WORDS}).encode()),
        say(500, json.dumps([WORDS]).encode()),
        say(400, WORDS.encode(), media_type="text/plain"),
        say(500, b""),
    ],
)
async def test_refusal_nobody_knows_is_ours_without_its_words(
    client: httpx.AsyncClient, wire: Wire, fault: Any
) -> None:
    wire.faults.append(fault)
    error = await refusal(PostgrestTransport(client, wire.url, "sb_secret_x"), "anything")
    assert (type(error), str(error)) == (LedgerUnavailable, "the database refused the call")
    assert len(wire.sent) == 1


def every_class(of: type[Exception]) -> set[type[Exception]]:
    return {of}.union(*(every_class(each) for each in of.__subclasses__()))


@pytest.mark.parametrize(("code", "told"), [("ZC014", TooManyOpenWishes), ("ZC015", LedgerMisconfigured)])
def test_a_refusal_of_ours_is_told_as_it_is(code: str, told: type[Exception]) -> None:
    error, again = translate(Refused(400, code))
    assert (type(error), again) == (told, False)


def test_every_exception_of_the_transports_becomes_ours() -> None:
    foreign = every_class(httpx.HTTPError) | every_class(aiohttp.ClientError)
    assert len(foreign) > 40
    for each in foreign:
        ours, _ = translate(each.__new__(each))
        assert isinstance(ours, LedgerUnavailable | LedgerMisconfigured), each


def test_answer_that_cannot_be_read_is_asked_for_again() -> None:
    ours, resend = translate(Garbled("x"))
    assert (type(ours), resend) == (LedgerUnavailable, True)


def test_bug_of_ours_is_not_taken_for_a_fault_of_the_database() -> None:
    with pytest.raises(KeyError):
        translate(KeyError("x"))


def test_every_row_of_the_table_can_be_reached() -> None:
    for number, (signs, *_) in enumerate(ERRORS):
        if isinstance(signs, type):
            earlier = [each for each, *_ in ERRORS[:number] if isinstance(each, type)]
            assert not any(issubclass(signs, each) for each in earlier), signs
        else:
            seen = {sign for each, *_ in ERRORS[:number] if isinstance(each, tuple) for sign in each}
            assert not seen & set(signs), signs
    assert ERRORS[-1][0] is Refused  # after every code and status


# --- what the real PostgREST answers -------------------------------------------------------------


@pytest.fixture
def provoking(postgrest: PostgrestServer, owner_url: str) -> PostgrestServer:
    """PostgREST over a database with a function that fails as it is told."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(
            "create function public.provoke(p_code text) returns void language plpgsql as"
            f" $$ begin raise exception '{WORDS}' using errcode = p_code, detail = '{WORDS}'; end $$"
        )
    postgrest.restart()
    return postgrest


@pytest.mark.usefixtures("_no_pauses")
@pytest.mark.parametrize(
    ("sqlstate", "ours", "message"),
    [
        ("40P01", LedgerUnavailable, "busy"),
        ("55P03", LedgerUnavailable, "busy"),
        ("57014", LedgerUnavailable, "too long"),
        ("57P01", LedgerUnavailable, "does not answer"),
        ("08006", LedgerUnavailable, "does not answer"),
        ("53300", LedgerUnavailable, "does not answer"),
        ("25006", LedgerUnavailable, "no writes"),
        ("42883", LedgerMisconfigured, "copperplate migrate"),
        ("42P01", LedgerMisconfigured, "copperplate migrate"),
        ("3F000", LedgerMisconfigured, "copperplate migrate"),
        ("42501", LedgerMisconfigured, "SUPABASE_SECRET_KEY"),
        ("P0001", LedgerUnavailable, "refused"),
        ("23505", LedgerUnavailable, "refused"),
        ("ZC002", LedgerUnavailable, "refused"),
        ("XX000", LedgerUnavailable, "refused"),
    ],
)
async def test_error_of_the_database_reaches_us_as_its_sqlstate(
    client: httpx.AsyncClient, provoking: PostgrestServer, sqlstate: str, ours: type[Exception], message: str
) -> None:
    error = await refusal(PostgrestTransport(client, provoking.url, make_jwt()), "provoke", p_code=sqlstate)
    assert type(error) is ours
    assert message in str(error)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(make_jwt("anon"), id="anon"),
        pytest.param(make_jwt("authenticated"), id="authenticated"),
        pytest.param(make_jwt("postgres"), id="a role PostgREST may not take"),
        pytest.param(make_jwt("nobody_has_this_name"), id="no such role"),
        pytest.param(make_jwt(exp=1), id="expired"),
        pytest.param(make_jwt()[:-4] + "AAAA", id="forged"),
        pytest.param("not a token", id="not a token"),
    ],
)
async def test_key_that_may_not_use_the_ledger_is_named(
    client: httpx.AsyncClient, postgrest: PostgrestServer, key: str
) -> None:
    with pytest.raises(LedgerMisconfigured, match="SUPABASE_SECRET_KEY") as caught:
        await PostgrestLedger(client, postgrest.url, key).peek(KEY, RENDITION)
    assert key not in f"{caught.value}{caught.value.__cause__!r}"


async def test_both_generations_of_keys_open_the_ledger_and_no_other_key_does(
    client: httpx.AsyncClient, supabase: Supabase
) -> None:
    url = f"{supabase.url}/rest/v1"
    for key in (supabase.secret_key, supabase.service_role_key):
        assert await PostgrestLedger(client, url, key).peek(KEY, RENDITION) == Miss()
    for key in (supabase.publishable_key, supabase.anon_key, "sb_secret_of_another_project"):
        with pytest.raises(LedgerMisconfigured, match="SUPABASE_SECRET_KEY"):
            await PostgrestLedger(client, url, key).peek(KEY, RENDITION)


async def test_database_without_our_functions_names_both_commands_that_mend_it(
    client: httpx.AsyncClient, cluster: Cluster, postgrest_binary: Path
) -> None:
    create_database(cluster.superuser_url, "rest_without_schema", template="postgres")
    database_url = cluster.url(role="authenticator", database="rest_without_schema")
    with PostgrestServer(postgrest_binary, database_url) as server:
        ledger = PostgrestLedger(client, server.url, make_jwt())
        for call in (ledger.peek(KEY, RENDITION), ledger.generation_stats(), ledger.sweep(1)):
            with pytest.raises(LedgerMisconfigured, match=r"copperplate migrate.*notify pgrst, 'reload schema'"):
                await call


async def test_api_that_does_not_expose_our_schema_says_so(
    client: httpx.AsyncClient, make_postgrest: Callable[..., PostgrestServer]
) -> None:
    ledger = PostgrestLedger(client, make_postgrest(db_schemas="extensions").url, make_jwt())
    with pytest.raises(LedgerMisconfigured, match="expose the schema public"):
        await ledger.peek(KEY, RENDITION)


async def test_api_without_a_secret_to_check_keys_by_says_so(
    client: httpx.AsyncClient, make_postgrest: Callable[..., PostgrestServer]
) -> None:
    ledger = PostgrestLedger(client, make_postgrest(jwt_secret="").url, make_jwt())
    with pytest.raises(LedgerMisconfigured, match="JWT secret"):
        await ledger.peek(KEY, RENDITION)


async def test_address_of_something_else_is_named(client: httpx.AsyncClient, supabase: Supabase) -> None:
    ledger = PostgrestLedger(client, f"{supabase.url}/elsewhere", supabase.secret_key)
    with pytest.raises(LedgerMisconfigured, match="SUPABASE_URL"):
        await ledger.peek(KEY, RENDITION)


async def test_redirect_is_not_followed_with_the_key(client: httpx.AsyncClient, wire: Wire) -> None:
    async with Wire("http://127.0.0.1:9") as elsewhere:
        wire.faults.append(say(301, b"", headers=f"Location: {elsewhere.url}/rpc/peek_generation\r\n"))
        with pytest.raises(LedgerMisconfigured, match="SUPABASE_URL"):
            await PostgrestLedger(client, wire.url, "sb_secret_x").peek(KEY, RENDITION)
        assert elsewhere.sent == []

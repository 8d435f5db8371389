"""Forged, altered and misplaced tokens by family, and the few that are good."""
# ruff: noqa: E501 - a table reads better with a case a line

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

from tests.support.tokens import (
    MISSING,
    P256_ORDER,
    SECRET,
    USER,
    as_json,
    b64,
    ec_key,
    jwk,
    ours,
    raw_signature,
    rsa_key,
    sign,
    sign_hs,
    unb64,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.tokens import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One token, and what is wrong with it."""

    family: str
    name: str
    token: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.family}: {self.name}"


def valid(tokens: Tokens) -> list[Case]:
    """One of each kind that a project with keys takes."""
    cases = {
        "ES256": tokens.es(),
        "RS256": tokens.rs(),
        "anonymous": tokens.es(is_anonymous=True),
        "s of the upper half": _high_s(tokens.es()),
        "expired a moment ago": tokens.es(exp=tokens.now - 29),
        "from a clock that is ahead": tokens.es(iat=tokens.now + 29, nbf=tokens.now + 29),
        "a fraction of a second": tokens.es(exp=tokens.now + 0.5, iat=tokens.now - 0.5),
        "several audiences": tokens.es(aud=["authenticated", "another"]),
        "without typ": tokens.es(header={"typ": MISSING}),
        "jku and x5u, which are not looked at": tokens.es(header={"jku": "http://169.254.169.254/", "x5u": "x"}),
    }
    return [Case(family="valid", name=name, token=token) for name, token in cases.items()]


def forged(tokens: Tokens) -> list[Case]:
    """None of these may open anything, whatever keys and secret the project has."""
    families = {
        "no algorithm": _without_algorithm(tokens),
        "confused algorithm": _confused(tokens),
        "key id": _key_ids(tokens),
        "foreign key": _foreign_keys(tokens),
        "claims": _claims(tokens),
        "times": _times(tokens),
        "shape": _shapes(tokens),
        "signature": _signatures(tokens),
        "critical or embedded": _extensions(tokens),
        "said twice": _doubled(tokens),
        "project keys": _project_keys(tokens),
    }
    return [Case(family=family, name=name, token=token) for family, cases in families.items() for name, token in cases]


def _without_algorithm(tokens: Tokens) -> Iterator[tuple[str, str]]:
    odd: tuple[object, ...] = ("none", "None", "NONE", "nOnE", "none ", " none", "", "null", "nοne", None, 0, False, [], {}, ["none"])  # fmt: skip
    for name in odd:
        head, claims = b64(as_json({"alg": name, "typ": "JWT", "kid": "ec-1"})), b64(as_json(tokens.claims()))
        yield f"{name!r}, no signature", f"{head}.{claims}."
        yield f"{name!r}, some signature", f"{head}.{claims}.{tokens.es().split('.')[2]}"
    yield "alg is missing", tokens.es(header={"alg": MISSING})


def _confused(tokens: Tokens) -> Iterator[tuple[str, str]]:
    for kid, key in (("ec-1", ec_key()), ("rsa-1", rsa_key())):
        public = key.public_key()
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        ssh = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        as_jwk = jwk(key, kid)
        secrets = {
            "PEM": pem,
            "PEM without its last line break": pem.strip(),
            "PEM with CRLF": pem.replace(b"\n", b"\r\n"),
            "DER": der,
            "SSH": ssh,
            "JWK": as_json(as_jwk),
            "JWK, sorted": json.dumps(as_jwk, sort_keys=True).encode(),
            "the key set": json.dumps({"keys": ours()}).encode(),
            "the key's id": kid.encode(),
            "x or n": str(as_jwk.get("x", as_jwk.get("n"))).encode(),
            "nothing": b"",
        }
        for name, secret in secrets.items():
            yield f"HS256 with {kid} as secret: {name}", tokens.hs(secret=secret, header={"kid": kid})
        yield f"HS256 with {kid} as secret, no kid", tokens.hs(secret=pem)
    yield "RS256 by a key that is on P-256", tokens.rs(header={"kid": "ec-1"})
    yield "ES256 by a key that is RSA", tokens.es(header={"kid": "rsa-1"})
    yield "says RS256, signed on P-256", tokens.es(header={"alg": "RS256"})
    for name in ("ES384", "ES512", "ES256K", "EdDSA", "HS256", "HS384", "HS512", "es256", "ES256 ", "SHA256"):
        yield f"a good signature said to be {name}", tokens.es(header={"alg": name})
    for name in ("RS384", "RS512", "PS256", "RSA1_5", "rs256"):
        yield f"a good signature said to be {name}, RSA", tokens.rs(header={"alg": name})
    for name in ("HS384", "HS512", "hs256"):
        yield f"the legacy secret, said to be {name}", tokens.hs(header={"alg": name})


def _key_ids(tokens: Tokens) -> Iterator[tuple[str, str]]:
    odd: tuple[object, ...] = (
        MISSING, None, "", " ", "ec-1 ", "EC-1", "ec-1\x00", "ec-2", 1, True, ["ec-1"], {"kid": "ec-1"},
        "../../../../dev/null", "/dev/null", "file:///dev/null", "http://127.0.0.1/jwks.json",
        "' or '1'='1", "x' union select 'secret' --", "$(id)", "|id", "%00", "\ud800", "é" * 20, "k" * 4_000, "__class__",
    )  # fmt: skip
    for kid in odd:
        yield f"ES256, {str(kid)[:40]!a}", tokens.es(header={"kid": kid})
    for kid in ("../../../../dev/null", "/dev/null", "' union select '' --"):
        yield f"HS256 with an empty secret, {kid}", tokens.hs(secret=b"", header={"kid": kid})


def _foreign_keys(tokens: Tokens) -> Iterator[tuple[str, str]]:
    yield "another key, our key's id", tokens.es(key=ec_key("theirs"))
    yield "another RSA key, our key's id", tokens.rs(key=rsa_key("theirs"))
    yield (
        "another project",
        tokens.es(key=ec_key("theirs"), header={"kid": "theirs"}, iss="https://theirs.supabase.co/auth/v1"),
    )
    yield "another project, our issuer", tokens.es(key=ec_key("theirs"), header={"kid": "theirs"})
    known = (
        "",
        "secret",
        "super-secret-jwt-token-with-at-least-32-characters-long",
        "None",
        "undefined",
        SECRET[:-1],
        SECRET + "\n",
    )
    for secret in known:
        yield f"HS256, guessed: {secret!r}", tokens.hs(secret=secret.encode())
    yield "HS256, the secret decoded", tokens.hs(secret=base64.urlsafe_b64decode(SECRET))
    yield "HS256, the secret encoded", tokens.hs(secret=base64.b64encode(SECRET.encode()))


def _claims(tokens: Tokens) -> Iterator[tuple[str, str]]:
    issuer = tokens.issuer
    wrong: dict[str, tuple[Any, ...]] = {
        "aud": (MISSING, None, "", "anon", "authenticated ", "Authenticated", "authenticated,anon", [], ["anon"], [["authenticated"]], {"authenticated": 1}, 1, True, "auth"),
        "iss": (MISSING, None, "", issuer + "/", issuer.upper(), issuer[:-1], issuer[:-8], issuer.replace("127.0.0.1", "localhost"), "https://theirs.supabase.co/auth/v1", "supabase", [issuer], {issuer: 1}, 1, True, "/", "https://copperplate.localhost/auth/v1"),
        "role": (MISSING, None, "", "anon", "service_role", "supabase_admin", "postgres", "authenticated ", "AUTHENTICATED", ["authenticated"], {"authenticated": 1}, True),
        "sub": (MISSING, None, "", "me", "0", 0, 1, True, [USER], {"id": USER}, USER[:-1], USER + "0", USER.upper(), USER.replace("-", ""), "{" + USER + "}", "urn:uuid:" + USER, USER + "\n", " " + USER, f"{USER}' or true --", "../" + USER),
    }  # fmt: skip
    for name, values in wrong.items():
        for value in values:
            yield f"{name} {'missing' if value is MISSING else repr(value)[:50]}", tokens.es(**{name: value})
        yield f"{name} missing, RS256", tokens.rs(**{name: MISSING})
        yield f"{name} missing, HS256", tokens.hs(**{name: MISSING})


def _times(tokens: Tokens) -> Iterator[tuple[str, str]]:
    now = tokens.now
    wrong: dict[str, tuple[Any, ...]] = {
        "exp": (MISSING, None, now - 60, now - 31, now - 30, 0, -1, -(2**63), True, "9999999999", str(now + 60), [now + 60], {}, 2**53, 2**63, 10**30, float("inf"), float("nan")),
        "nbf": (None, now + 60, now + 31, 2**53, -1, "0", True, [], float("inf"), float("nan")),
        "iat": (None, now + 60, now + 31, 2**53, -1, "0", True, [], float("-inf"), float("nan")),
    }  # fmt: skip
    for name, values in wrong.items():
        for value in values:
            yield f"{name} {'missing' if value is MISSING else value}", tokens.es(**{name: value})
    yield "exp 1e400", _written(tokens, b'"exp":1e400')
    yield "exp of 5,000 digits", _written(tokens, b'"exp":' + b"9" * 5_000)
    yield "expired, HS256", tokens.hs(exp=now - 31)
    yield "expired, RS256", tokens.rs(exp=now - 31)


def _shapes(tokens: Tokens) -> Iterator[tuple[str, str]]:
    good = tokens.es()
    head, claims, signature = good.split(".")
    yield "empty", ""
    for name in (
        ".",
        "..",
        "...",
        "a.b.c",
        "null",
        "undefined",
        "None",
        "[object Object]",
        "{}",
        "Bearer",
        "e30.e30.e30",
    ):
        yield name, name
    for name, space in (
        ("space", " "),
        ("tab", "\t"),
        ("line break", "\n"),
        ("zero", "\0"),
        ("no-break space", "\xa0"),
    ):
        yield f"{name} before", space + good
        yield f"{name} after", good + space
        yield f"{name} inside", f"{head}.{space}{claims}.{signature}"
    yield "two parts", f"{head}.{claims}"
    yield "four parts", f"{good}.{signature}"
    yield "five parts, as if encrypted", f"{head}.{head}.{head}.{claims}.{signature}"
    yield "an empty part", f"{head}..{signature}"
    yield "quoted", f'"{good}"'
    yield "comma and another", f"{good},{good}"
    yield "Bearer twice", f"Bearer {good}"
    yield "padded to 100 KB", tokens.es(user_metadata={"x": "y" * 100_000})
    yield "just too long", tokens.es(user_metadata={"x": "y" * 8_192})
    yield "the JSON form of RFC 7515", json.dumps({"protected": head, "payload": claims, "signature": signature})
    for name, raw in (
        ("an array", b"[]"),
        ("a string", b'"x"'),
        ("null", b"null"),
        ("cut off", b'{"alg":"ES256"'),
        ("not UTF-8", b'{"alg":"ES256","x":"\xff"}'),
        ("UTF-16", '{"alg":"ES256","kid":"ec-1"}'.encode("utf-16")),
        ("a BOM", b"\xef\xbb\xbf" + as_json({"alg": "ES256", "kid": "ec-1"})),
    ):
        yield f"the header is {name}", sign(raw, as_json(tokens.claims()), ec_key())
        yield f"the claims are {name}", sign(as_json({"alg": "ES256", "kid": "ec-1"}), raw, ec_key())
    for depth in (50, 900, 2_000):
        nested = b'{"alg":"ES256","kid":"ec-1","x":' + b"[" * depth + b"]" * depth + b"}"
        yield f"a header {depth} deep, unsigned", f"{b64(nested)}.{claims}.{signature}"
    yield "compressed claims", tokens.es(header={"zip": "DEF"}).replace(".", ".A", 1)


def _signatures(tokens: Tokens) -> Iterator[tuple[str, str]]:
    head, claims, signature = tokens.es().split(".")
    raw, signed = unb64(signature), f"{head}.{claims}"
    r, s = raw[:32], raw[32:]
    order = P256_ORDER.to_bytes(32)
    odd = {
        "empty": b"", "one byte": b"\0", "one byte short": raw[:-1], "one byte long": raw + b"\0", "half": r, "twice": raw + raw,
        "r zero": bytes(32) + s, "s zero": r + bytes(32), "r and s zero": bytes(64), "r and s the order": order + order,
        "s beyond the order": r + b"\xff" * 32, "r and s swapped": s + r, "one bit off": raw[:-1] + bytes([raw[-1] ^ 1]),
        "DER": ec_key().sign(signed.encode(), ec.ECDSA(hashes.SHA256())),
        "with SHA-384": raw_signature(ec_key().sign(signed.encode(), ec.ECDSA(hashes.SHA384()))),
        "of the claims alone": raw_signature(ec_key().sign(claims.encode(), ec.ECDSA(hashes.SHA256()))),
    }  # fmt: skip
    for name, value in odd.items():
        yield f"ES256 {name}", f"{signed}.{b64(value)}"
    yield "ES256 of another token", f"{signed}.{tokens.es(sub=USER.replace('5', '6')).split('.')[2]}"
    yield "claims of another token", f"{head}.{b64(as_json(tokens.claims(sub=USER.replace('5', '6'))))}.{signature}"
    for name, changed in (
        ("padding", signature + "=="),
        ("padding, one", signature + "="),
        ("the standard alphabet", base64.b64encode(raw).decode()),
        ("spare bits set", _spare_bits(signature)),
        ("one character short", signature[:-1]),
        ("no signature", ""),
    ):
        yield f"ES256 {name}", f"{signed}.{changed}"
    yield "header padded", f"{head}=.{claims}.{signature}"
    yield "claims padded", f"{head}.{claims}==.{signature}"
    head, claims, signature = tokens.rs().split(".")
    raw, signed = unb64(signature), f"{head}.{claims}"
    pss = rsa_key().sign(signed.encode(), padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    for name, value in (
        ("cut", raw[:-1]),
        ("zero", bytes(256)),
        ("one", bytes(255) + b"\1"),
        ("PSS", pss),
        ("long", b"\0" + raw),
    ):
        yield f"RS256 {name}", f"{signed}.{b64(value)}"
    head, claims, signature = tokens.hs().split(".")
    for name, value in (
        ("cut", unb64(signature)[:-1]),
        ("zero", bytes(32)),
        ("SHA-512", hmac.digest(SECRET.encode(), f"{head}.{claims}".encode(), "sha512")),
        ("hex", unb64(signature).hex().encode()),
    ):
        yield f"HS256 {name}", f"{head}.{claims}.{b64(value)}"
    yield "HS256 spare bits set", f"{head}.{claims}.{_spare_bits(signature)}"


def _extensions(tokens: Tokens) -> Iterator[tuple[str, str]]:
    theirs = jwk(ec_key("theirs"), "theirs")
    for name, value in (
        ("jwk", theirs),
        ("jku", "https://theirs.example/jwks.json"),
        ("x5u", "https://theirs.example/x.pem"),
        ("x5c", ["MIIB"]),
        ("jwk ", None),
    ):
        for kid in ("theirs", "ec-1", MISSING):
            header = {name.strip(): value or jwk(ec_key("theirs"), "ec-1"), "kid": kid}
            yield f"{name} embedded, kid {kid!s:.6}", tokens.es(key=ec_key("theirs"), header=header)
    crits: tuple[object, ...] = (["exp"], ["b64"], [], None, "exp", ["x"], {})
    for crit in crits:
        yield f"crit {crit}", tokens.es(header={"crit": crit, "x": 1})
    yield "b64 false and crit", tokens.es(header={"crit": ["b64"], "b64": False})
    yield "b64 false", tokens.es(header={"b64": False})


def _doubled(tokens: Tokens) -> Iterator[tuple[str, str]]:
    claims = as_json(tokens.claims())
    for name, head in (
        ("alg", b'{"alg":"none","alg":"ES256","kid":"ec-1"}'),
        ("kid", b'{"alg":"ES256","kid":"x","kid":"ec-1"}'),
        ("alg, spelled otherwise", b'{"alg":"none","\\u0061lg":"ES256","kid":"ec-1"}'),
    ):
        yield f"{name} in the header", sign(head, claims, ec_key())
    for name, value in (
        ("sub", USER),
        ("role", "authenticated"),
        ("aud", "authenticated"),
        ("iss", tokens.issuer),
        ("exp", tokens.now + 60),
    ):
        yield name, _written(tokens, f'"{name}":{json.dumps(value)}'.encode())
    yield "sub, spelled otherwise", _written(tokens, b'"\\u0073ub":"' + USER.encode() + b'"')
    yield "deep inside", _written(tokens, b'"x":{"y":[{"z":1,"z":2}]}')


def _project_keys(tokens: Tokens) -> Iterator[tuple[str, str]]:
    yield "secret key", "sb_secret_0123456789abcdefghijkl_mnopqrst"
    yield "publishable key", "sb_publishable_0123456789abcdefghijkl_mnopqrst"
    yield "dressed as a token", f"sb_secret_{tokens.es()}"
    for role in ("anon", "service_role"):
        yield (
            f"legacy {role} key",
            sign_hs(
                as_json({"alg": "HS256", "typ": "JWT"}),
                as_json(
                    {
                        "iss": "supabase",
                        "ref": "abcdefghijklmnopqrst",
                        "role": role,
                        "iat": tokens.now,
                        "exp": tokens.now + 10**8,
                    }
                ),
                SECRET.encode(),
            ),
        )
        yield f"{role} key with everything else right", tokens.hs(role=role)


def _written(tokens: Tokens, member: bytes) -> str:
    """A well signed token with one more member, written so."""
    claims = (
        as_json(tokens.claims(exp=MISSING))
        if member.startswith(b'"exp":1e') or len(member) > 5_000
        else as_json(tokens.claims())
    )
    return sign(as_json({"alg": "ES256", "kid": "ec-1"}), claims[:-1] + b"," + member + b"}", ec_key())


def _high_s(token: str) -> str:
    """The other signature that ECDSA takes for the same token; JWS does not forbid it."""
    signed, _, signature = token.rpartition(".")
    raw = unb64(signature)
    s = int.from_bytes(raw[32:])
    return f"{signed}.{b64(raw[:32] + max(s, P256_ORDER - s).to_bytes(32))}"


def _spare_bits(part: str) -> str:
    """The same bytes in another spelling: the bits that base64 has left over are set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(part) % 4, "nothing is left over"
    return part[:-1] + alphabet[alphabet.index(part[-1]) | 1]

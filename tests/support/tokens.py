"""Tokens as Supabase Auth makes them, and anything else. Signed here and not by PyJWT, which refuses to make most."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

if TYPE_CHECKING:
    from datetime import datetime

    Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

USER: Final = "5b2e7a44-0c1d-4f3e-9a6b-7c8d9e0f1a2b"
SECRET: Final = "the-secret-of-a-legacy-project-012345678"
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
MISSING: Final[Any] = object()


@cache
def ec_key(name: str = "ours") -> ec.EllipticCurvePrivateKey:
    """A private key on P-256; the same for the same name."""
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(name.encode()).digest()) % P256_ORDER, ec.SECP256R1())


@cache
def rsa_key(name: str = "ours", bits: int = 2048) -> rsa.RSAPrivateKey:
    """A private RSA key, made once in a run."""
    return rsa.generate_private_key(65537, bits)


def jwk(key: Private, kid: str, **members: object) -> dict[str, object]:
    """The public half as Supabase publishes it; a member that is `MISSING` is left out."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point = key.public_key().public_numbers()
        size = (key.curve.key_size + 7) // 8
        curve = {"secp256r1": "P-256", "secp384r1": "P-384"}[key.curve.name]
        own = {"kty": "EC", "crv": curve, "alg": "ES256", "x": _uint(point.x, size), "y": _uint(point.y, size)}
    else:
        modulus = key.public_key().public_numbers()
        own = {"kty": "RSA", "alg": "RS256", "n": _uint(modulus.n), "e": _uint(modulus.e)}
    named = {"kid": kid, "use": "sig", "key_ops": ["verify"], "ext": True}
    return {name: value for name, value in {**own, **named, **members}.items() if value is not MISSING}


def ours() -> list[dict[str, object]]:
    """The keys that our project publishes."""
    return [jwk(ec_key(), "ec-1"), jwk(rsa_key(), "rsa-1")]


class Tokens:
    """Tokens of one project at one moment."""

    def __init__(self, issuer: str, now: datetime) -> None:
        self.issuer = issuer
        self.now = int(now.timestamp())

    def claims(self, **changes: object) -> dict[str, object]:
        """What Supabase Auth says of somebody, with changes; what is `MISSING` is left out."""
        usual = {
            "iss": self.issuer,
            "sub": USER,
            "aud": "authenticated",
            "exp": self.now + 3_600,
            "iat": self.now,
            "email": "somebody@example.com",
            "phone": "",
            "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": {},
            "role": "authenticated",
            "aal": "aal1",
            "amr": [{"method": "password", "timestamp": self.now}],
            "session_id": "0f1e2d3c-4b5a-4978-8a9b-0c1d2e3f4a5b",
            "is_anonymous": False,
        }
        return _without_missing({**usual, **changes})

    def es(self, *, key: Private | None = None, header: dict[str, Any] | None = None, **changes: object) -> str:
        """A token signed with our key on P-256, or another."""
        head = _without_missing({"alg": "ES256", "kid": "ec-1", "typ": "JWT", **(header or {})})
        return sign(as_json(head), as_json(self.claims(**changes)), key or ec_key())

    def rs(self, *, key: Private | None = None, header: dict[str, Any] | None = None, **changes: object) -> str:
        """A token signed with our RSA key, or another."""
        head = _without_missing({"alg": "RS256", "kid": "rsa-1", "typ": "JWT", **(header or {})})
        return sign(as_json(head), as_json(self.claims(**changes)), key or rsa_key())

    def hs(self, *, secret: bytes = SECRET.encode(), header: dict[str, Any] | None = None, **changes: object) -> str:
        """A token of a legacy project."""
        head = _without_missing({"alg": "HS256", "typ": "JWT", **(header or {})})
        return sign_hs(as_json(head), as_json(self.claims(**changes)), secret)


def sign(header: bytes, claims: bytes, key: Private) -> str:
    """A token of these very bytes."""
    signed = f"{b64(header)}.{b64(claims)}"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return f"{signed}.{b64(raw_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))))}"
    return f"{signed}.{b64(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def sign_hs(header: bytes, claims: bytes, secret: bytes) -> str:
    """The same with a shared secret."""
    signed = f"{b64(header)}.{b64(claims)}"
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), 'sha256'))}"


def raw_signature(der: bytes, size: int = 32) -> bytes:
    """r and s side by side, as JWS has them."""
    r, s = decode_dss_signature(der)
    return r.to_bytes(size) + s.to_bytes(size)


def _without_missing(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not MISSING}


def as_json(value: object) -> bytes:
    """Without spaces, in any order."""
    return json.dumps(value, separators=(",", ":")).encode()


def _uint(number: int, size: int | None = None) -> str:
    return b64(number.to_bytes(size or (number.bit_length() + 7) // 8))


def b64(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(part: str) -> bytes:
    """The bytes of a part."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))

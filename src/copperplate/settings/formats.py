"""The formats of settings: each takes the text of a variable, and says what it must be where it is not that.

A `ValueError` completes the sentence "VARIABLE must be …". It never quotes the value.
"""

from __future__ import annotations

import base64
import json
import re
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from copperplate.model import PictureFormat
from copperplate.source_pictures import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MIN_SECRET_CHARS: Final = 16
MIN_JWT_SECRET_CHARS: Final = 32
# A shorter one could be found by trying: whoever has one signed URL can check a guess.
MIN_SIGNING_SECRET_CHARS: Final = 32
# One that signs, and one whose URLs are still valid.
MAX_SIGNING_KEYS: Final = 2
# What Prisma and Vercel's integration add for their clients. A pooler is found without being told of.
OF_OTHER_CLIENTS: Final = {"pgbouncer", "connection_limit", "pool_timeout", "supa"}
REDIS_PARAMETERS: Final[Mapping[str, set[str]]] = MappingProxyType(
    {"redis": {"db"}, "rediss": {"db", "ssl_cert_reqs", "ssl_ca_certs", "ssl_check_hostname"}}
)
_AHEAD: Final = {each.value: each for each in (PictureFormat.WEBP, PictureFormat.AVIF)}
_DOLLARS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
# At least two labels, the last one no number: an address is no name.
_HOST: Final = re.compile(r"\.?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


def text(raw: str) -> str:
    """Any text."""
    return raw


def _split(raw: str) -> SplitResult:
    """The parts of a URL; of what is none, empty ones. Its own complaint is not in our words."""
    try:
        return urlsplit(raw)
    except ValueError:
        return urlsplit("")


def _address(raw: str) -> SplitResult:
    """The parts of an address that a client can connect to: its port is one."""
    parts = _split(raw)
    try:
        return parts if parts.port != 0 else urlsplit("")
    except ValueError:
        return urlsplit("")


def url(raw: str) -> str:
    """An http or https address, without a slash at its end."""
    parts = _address(raw)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an http or https address")
    return raw.rstrip("/")


def service_url(raw: str) -> str:
    """An address that a key is sent to: https, or http on this machine."""
    parts = _address(raw)
    is_local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme not in (("http", "https") if is_local else ("https",)) or not parts.hostname or not is_plain:
        raise ValueError("an https address (http only on this machine) without user, query or fragment")
    return raw.rstrip("/")


def networks(raw: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Addresses and networks, with commas between."""
    try:
        # A zone is a name of this machine's, and no part of a network.
        return tuple(ip_network(part.strip().replace("%", " "), strict=False) for part in raw.split(","))
    except ValueError:
        raise ValueError("addresses or networks with commas between, such as 127.0.0.1,10.0.0.0/8,fd00::/8") from None


def hosts(raw: str) -> tuple[str, ...]:
    """Host names, each with a port or none, with commas between."""
    names = tuple(part.strip().lower() for part in raw.split(","))
    if not all(re.fullmatch(r"([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", name) for name in names):
        raise ValueError("host names with commas between, such as pictures.example.com,pictures.example.org:8443")
    return names


def key(raw: str) -> str:
    """An API key: one word of printable ASCII."""
    # It becomes a header: a line break pasted with it would fail every request, far from here.
    word = raw.strip()
    if not word.isascii() or not word.isprintable() or " " in word:
        raise ValueError("a key in one word")
    # What is left of a variable that some program had no value for.
    if word.lower() in ("none", "null", "undefined"):
        raise ValueError("a key, not a word that stands for none")
    return word


def secret_key(raw: str) -> str:
    """A key of a Supabase project that may write."""
    word = key(raw)
    if word.startswith("sb_publishable_"):
        raise ValueError("a secret key, not the publishable one")
    role = _role_of(word)
    if role not in (None, "service_role"):
        raise ValueError(f"no token of the role {role!r}, as this one is, but a secret key or the service_role key")
    return word


def _role_of(word: str) -> str | None:
    """The role that a key of the older generation names in its payload; None for what is no such key."""
    parts = word.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
        return str(claims.get("role", "anon"))[:40]
    except (ValueError, AttributeError):
        return None


def database_url(raw: str) -> str:
    """A URL that libpq takes, without what other clients write into theirs for their own pool."""
    if _split(raw).scheme not in ("postgres", "postgresql"):
        raise ValueError("a libpq URL")
    place, _, query = raw.partition("?")
    if "@" in query:  # of a password, or of a value: left as it is
        return raw
    kept = "&".join(part for part in query.split("&") if part.partition("=")[0] not in OF_OTHER_CLIENTS)
    return f"{place}?{kept}" if kept else place


def redis_url(raw: str) -> str:
    """A URL of Redis or Valkey. How long anything waits is ours to say, and so is how often it is tried."""
    parts = _address(raw)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    is_right = (
        parts.scheme in REDIS_PARAMETERS
        and bool(parts.hostname)
        and not parts.fragment
        and query.keys() <= REDIS_PARAMETERS[parts.scheme]
        and re.fullmatch(r"/?([0-9]{1,5})?", parts.path) is not None
        and re.fullmatch(r"[0-9]{1,5}", query.get("db", "0")) is not None
        and query.get("ssl_cert_reqs", "none") in ("none", "optional", "required")
    )
    if not is_right:
        raise ValueError(
            "redis://USER:PASSWORD@HOST:PORT/DB, or rediss:// for TLS, with db, ssl_cert_reqs, ssl_ca_certs and "
            "ssl_check_hostname at most after a question mark"
        )
    return raw


def seconds(raw: str) -> timedelta:
    """A duration of a day at most, in seconds."""
    try:
        number = float(raw)
    except ValueError:
        number = -1
    if not 0 <= number <= 86_400:  # also refuses nan
        raise ValueError("a number of seconds from 0 to 86400")
    return timedelta(seconds=number)


def positive_seconds(raw: str) -> timedelta:
    """A duration above zero, in seconds."""
    duration = seconds(raw)
    if not duration:
        raise ValueError("a number of seconds above 0")
    return duration


def secret(raw: str) -> str:
    """A bearer secret that cannot be guessed."""
    if len(raw) < MIN_SECRET_CHARS:
        raise ValueError(f"{MIN_SECRET_CHARS} characters or more")
    return raw


def jwt_secret(raw: str) -> str:
    """What users' tokens are signed with."""
    if len(raw) < MIN_JWT_SECRET_CHARS or raw != raw.strip():
        raise ValueError(f"{MIN_JWT_SECRET_CHARS} characters or more, without white space around them")
    # Whoever knows the secret can sign in as anybody. These are known, or copied from the line beside it.
    if raw.startswith(("-----BEGIN", "ssh-", "ecdsa-", "{", "eyJ", "sb_publishable_", "sb_secret_")):
        raise ValueError("the project's JWT secret, not a public key, a token or an API key")
    return raw


def signing_keys(raw: str) -> tuple[tuple[str, str], ...]:
    """Ids and secrets of the keys of signed URLs; the first signs."""
    pairs = [part.strip().partition(":")[::2] for part in raw.split(",")]
    is_usable = all(
        re.fullmatch(r"[a-z0-9-]{1,16}", key_id)
        and re.fullmatch(rf"[!-~]{{{MIN_SIGNING_SECRET_CHARS},1000}}", signing_secret)
        for key_id, signing_secret in pairs
    )
    is_distinct = all(len(set(parts)) == len(pairs) for parts in zip(*pairs, strict=True))
    if not (is_usable and is_distinct and len(pairs) <= MAX_SIGNING_KEYS):
        raise ValueError(
            "id:secret, or two of them with a comma between: an id has 1 to 16 of a-z, 0-9 and -, a secret "
            f"{MIN_SIGNING_SECRET_CHARS} characters or more without spaces and commas, and each is there once"
        )
    return tuple((key_id, signing_secret) for key_id, signing_secret in pairs)


def wait(raw: str) -> timedelta:
    """How long somebody waits, in seconds: one or more."""
    # The wait also bounds the first look-up: below a second, hits would be turned away too.
    duration = seconds(raw)
    if duration < timedelta(seconds=1):
        raise ValueError("a number of seconds from 1 to 86400")
    return duration


def count(raw: str) -> int:
    """A whole number above zero."""
    if not raw.isascii() or not raw.isdigit() or not 1 <= int(raw) <= 1_000_000:
        raise ValueError("a whole number from 1 to 1000000")
    return int(raw)


def number(raw: str) -> int:
    """A whole number, zero included."""
    if not raw.isascii() or not raw.isdigit() or len(raw) > 9:
        raise ValueError("a whole number from 0 to 999999999")
    return int(raw)


def dollars(raw: str) -> int:
    """Dollars, as millionths of one; exact, and never a float."""
    if _DOLLARS.fullmatch(raw) is None:
        raise ValueError("dollars from 0 to 999999999, with at most six digits after the point")
    whole, _, fraction = raw.partition(".")
    return int(whole) * 1_000_000 + int(fraction.ljust(6, "0") or 0)


def dollars_or_off(raw: str) -> int | None:
    """The same, or None for `off`."""
    try:
        return None if raw == "off" else dollars(raw)
    except ValueError as error:
        message = f"{error}, or off"
        raise ValueError(message) from None


def megabytes(raw: str) -> int:
    """Megabytes, as bytes."""
    if not raw.isascii() or not raw.isdigit() or int(raw) > 1_000_000:
        raise ValueError("a whole number of megabytes from 0 to 1000000")
    return int(raw) * 1_000_000


def port(raw: str) -> int:
    """A port number."""
    if not raw.isascii() or not raw.isdigit() or int(raw) > 65_535:
        raise ValueError("a port number from 0 to 65535 (0 takes any free one)")
    return int(raw)


def domains(raw: str) -> tuple[str, ...]:
    """Names of hosts, or `.suffix` for a domain and all below it, with commas between."""
    names = tuple(part.strip().lower() for part in raw.split(",") if part.strip())
    if not all(_HOST.fullmatch(part) for part in names):
        raise ValueError("host names with a dot, parted by commas, such as cdn.example.com,.example.net")
    return names


def render_ahead(raw: str) -> tuple[PictureFormat, ...]:
    """Formats of renditions, or none for `off`; each once."""
    names = [part.strip() for part in raw.split(",")]
    if raw != "off" and not set(names) <= _AHEAD.keys():
        raise ValueError("webp, avif, both with a comma between, or off")
    return () if raw == "off" else tuple(_AHEAD[name] for name in dict.fromkeys(names))


def operation_credits(raw: str) -> Mapping[Operation, int]:
    """Whole credits by operation; none where it is empty."""
    prices: dict[Operation, int] = {}
    for part in filter(None, raw.split(",")):
        name, _, amount = part.partition("=")
        if name.strip() not in set(Operation) or not 1 <= len(amount.strip()) <= 6 or not amount.strip().isdecimal():
            raise ValueError("operation=credits of " + ", ".join(Operation) + ", with a comma between")
        prices[Operation(name.strip())] = int(amount)
    return MappingProxyType(prices)


def model_names(raw: str) -> tuple[str, ...]:
    """Names of models, each once, with commas between."""
    names = tuple(part.strip() for part in raw.split(",") if part.strip())
    if not names or len(set(names)) < len(names):
        raise ValueError("names of models, each once, with a comma between")
    return names


def flag(raw: str) -> bool:
    """1 or 0. Another word for either would be taken for the wrong one somewhere."""
    if raw not in ("0", "1"):
        raise ValueError("1 or 0")
    return raw == "1"


def level(raw: str) -> str:
    """A level of log lines, in any letter case."""
    return one_of("debug", "info", "warning", "error")(raw.lower())


def one_of(*names: str) -> Callable[[str], str]:
    """One of these words."""

    def parse(raw: str) -> str:
        if raw not in names:
            raise ValueError("one of " + ", ".join(names))
        return raw

    return parse

"""Settings: default, then environment, then check; every fault is reported at once."""

from __future__ import annotations

import base64
import json
import os
import re
from dataclasses import dataclass, field, fields
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

from copperplate.errors import Misconfigured

# At least two labels, the last one no number: an address is no name.
_HOST: Final = re.compile(r"\.?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from dataclasses import Field


def _text(raw: str) -> str:
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


def _url(raw: str) -> str:
    parts = _address(raw)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an http or https address")
    return raw.rstrip("/")


def _service_url(raw: str) -> str:
    parts = _address(raw)
    is_local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme not in (("http", "https") if is_local else ("https",)) or not parts.hostname or not is_plain:
        raise ValueError("an https address (http only on this machine) without user, query or fragment")
    return raw.rstrip("/")


def _networks(raw: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        # A zone is a name of this machine's, and no part of a network.
        return tuple(ip_network(each.strip().replace("%", " "), strict=False) for each in raw.split(","))
    except ValueError:
        raise ValueError("addresses or networks with commas between, such as 127.0.0.1,10.0.0.0/8,fd00::/8") from None


def _hosts(raw: str) -> tuple[str, ...]:
    hosts = tuple(each.strip().lower() for each in raw.split(","))
    if not all(re.fullmatch(r"([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", host) for host in hosts):
        raise ValueError("host names with commas between, such as pictures.example.com,pictures.example.org:8443")
    return hosts


def _key(raw: str) -> str:
    # It becomes a header: a line break pasted with it would fail every request, far from here.
    key = raw.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("a key in one word")
    # What is left of a variable that some program had no value for.
    if key.lower() in ("none", "null", "undefined"):
        raise ValueError("a key, not a word that stands for none")
    return key


def _secret_key(raw: str) -> str:
    key = _key(raw)
    if key.startswith("sb_publishable_"):
        raise ValueError("a secret key, not the publishable one")
    role = _role_of(key)
    if role not in (None, "service_role"):
        raise ValueError(
            f"a secret key (sb_secret_…) or the service_role key: this one is a token of the role {role!r}"
        )
    return key


def _role_of(key: str) -> str | None:
    """The role that a key of the older generation names in its payload; None for what is no such key."""
    parts = key.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
        return str(claims.get("role", "anon"))[:40]
    except (ValueError, AttributeError):
        return None


def _database_url(raw: str) -> str:
    if _split(raw).scheme not in ("postgres", "postgresql"):
        raise ValueError("a libpq URL")
    return raw


def _seconds(raw: str) -> timedelta:
    try:
        seconds = float(raw)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 86_400:  # also refuses nan
        raise ValueError("a number of seconds from 0 to 86400")
    return timedelta(seconds=seconds)


def _positive_seconds(raw: str) -> timedelta:
    seconds = _seconds(raw)
    if not seconds:
        raise ValueError("a number of seconds above 0")
    return seconds


def _secret(raw: str) -> str:
    if len(raw) < MIN_SECRET_CHARS:
        raise ValueError(f"{MIN_SECRET_CHARS} characters or more")
    return raw


def _jwt_secret(raw: str) -> str:
    if len(raw) < MIN_JWT_SECRET_CHARS or raw != raw.strip():
        raise ValueError(f"{MIN_JWT_SECRET_CHARS} characters or more, without white space around them")
    # Whoever knows the secret can sign in as anybody. These are known, or copied from the line beside it.
    if raw.startswith(("-----BEGIN", "ssh-", "ecdsa-", "{", "eyJ", "sb_publishable_", "sb_secret_")):
        raise ValueError("the project's JWT secret, not a public key, a token or an API key")
    return raw


def _wait(raw: str) -> timedelta:
    # The wait also bounds the first look-up: below a second, hits would be turned away too.
    seconds = _seconds(raw)
    if seconds < timedelta(seconds=1):
        raise ValueError("a number of seconds from 1 to 86400")
    return seconds


def _count(raw: str) -> int:
    if not raw.isascii() or not raw.isdigit() or not 1 <= int(raw) <= 1_000_000:
        raise ValueError("a whole number from 1 to 1000000")
    return int(raw)


def _megabytes(raw: str) -> int:
    if not raw.isascii() or not raw.isdigit() or int(raw) > 1_000_000:
        raise ValueError("a whole number of megabytes from 0 to 1000000")
    return int(raw) * 1_000_000


def _port(raw: str) -> int:
    if not raw.isascii() or not raw.isdigit() or int(raw) > 65_535:
        raise ValueError("a port number from 0 to 65535 (0 takes any free one)")
    return int(raw)


def _domains(raw: str) -> tuple[str, ...]:
    hosts = tuple(each.strip().lower() for each in raw.split(",") if each.strip())
    if not all(_HOST.fullmatch(each) for each in hosts):
        raise ValueError("host names with a dot, parted by commas, such as cdn.example.com,.example.net")
    return hosts


def _flag(raw: str) -> bool:
    return raw == "1"


def _one_of(*names: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw not in names:
            raise ValueError("one of " + ", ".join(names))
        return raw

    return parse


def _setting(
    variable: str,
    parse: Callable[[str], Any],
    default: str | None,
    doc: str,
    *,
    is_secret: bool = False,
    example: str | None = None,
) -> Any:
    """A field; `example` is shown where a value is refused: one that fits, or from where; the default unless given."""
    return field(
        metadata={
            "variable": variable,
            "parse": parse,
            "default": default,
            "doc": doc,
            "is_secret": is_secret,
            "example": example or default,
        },
        repr=not is_secret,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, by environment variable. Read once, in `compose`."""

    database_url: str | None = _setting(
        "DATABASE_URL",
        _database_url,
        None,
        "Postgres to use as ledger, for `serve`, `migrate` and `stats`. `copperplate dev` always runs its own.",
        is_secret=True,
        example="postgresql://user:password@host:5432/postgres",
    )
    pooler: Literal["transaction", "session"] | None = _setting(
        "COPPERPLATE_POOLER",
        _one_of("transaction", "session"),
        None,
        "How a pooler before `DATABASE_URL` lends sessions of Postgres; unset, a pooler that is found counts as "
        "`transaction`. `session` lends one to each connection, which then listens and prepares statements.",
    )
    supabase_url: str | None = _setting(
        "SUPABASE_URL",
        _service_url,
        None,
        "Address of the Supabase project, which then is ledger and store; needed on Vercel.",
        example="https://YOUR-PROJECT.supabase.co",
    )
    supabase_secret_key: str | None = _setting(
        "SUPABASE_SECRET_KEY",
        _secret_key,
        None,
        "Secret key of the Supabase project, `sb_secret_…`; needed beside `SUPABASE_URL`.",
        is_secret=True,
        example="sb_secret_YOUR-KEY",
    )
    supabase_service_role_key: str | None = _setting(
        "SUPABASE_SERVICE_ROLE_KEY",
        _secret_key,
        None,
        "Key of the older generation, used where `SUPABASE_SECRET_KEY` is not set.",
        is_secret=True,
        example="eyJhbGciOi.YOUR.KEY",
    )
    supabase_jwt_secret: str | None = _setting(
        "SUPABASE_JWT_SECRET",
        _jwt_secret,
        None,
        "Legacy projects only: what users' tokens are signed with (HS256), 32 characters or more. Others publish keys.",
        is_secret=True,
        example="what the dashboard shows under Project Settings, JWT Keys",
    )
    ledger: str | None = _setting(
        "COPPERPLATE_LEDGER",
        _one_of("postgres"),
        None,
        "`postgres` reaches the ledger by `DATABASE_URL` although `SUPABASE_URL` is set; pictures stay in Supabase.",
    )
    provider: str | None = _setting(
        "COPPERPLATE_PROVIDER",
        _one_of("painter", "fal", "openai"),
        None,
        "Who makes pictures: `fal`, `openai` or `painter`, which needs no key and draws locally. "
        "Without it fal where `FAL_KEY` is set, else the painter (never on Vercel).",
    )
    image_model: str | None = _setting(
        "COPPERPLATE_IMAGE_MODEL",
        _text,
        None,
        "Model of fal or OpenAI: `fal-ai/flux/schnell` or `gpt-image-2.5-flare` unless set. The painter has its own.",
    )
    memoji_model: str | None = _setting(
        "COPPERPLATE_MEMOJI_MODEL",
        _text,
        None,
        "The same for memoji, which OpenAI makes where `OPENAI_API_KEY` is set.",
    )
    provider_deadline: timedelta = _setting(
        "COPPERPLATE_PROVIDER_SECONDS",
        _wait,
        "120",
        "How long a leader waits for fal or OpenAI. A job of fal that takes longer is collected by a later request.",
    )
    fal_key: str | None = _setting(
        "FAL_KEY",
        _key,
        None,
        "Key of fal.",
        is_secret=True,
        example="YOUR-KEY-ID:YOUR-KEY-SECRET",
    )
    fal_queue_url: str = _setting(
        "COPPERPLATE_FAL_QUEUE_URL",
        _service_url,
        "https://queue.fal.run",
        "Address of fal's queue; http only on this machine, for a stand-in.",
    )
    result_hosts: tuple[str, ...] = _setting(
        "COPPERPLATE_RESULT_HOSTS",
        _domains,
        "",
        "Hosts beside fal's own from which its pictures may be fetched: names, or `.suffix` for a domain and all "
        "below it.",
    )
    job_retention: timedelta = _setting(
        "COPPERPLATE_JOB_RETENTION_SECONDS",
        _positive_seconds,
        "86400",
        "How long fal is told to keep a picture (`X-Fal-Object-Lifecycle-Preference`), a day at most. A paid job whose "
        "picture cannot be had is collected again for so long; then one new submit is paid for.",
    )
    openai_api_key: str | None = _setting(
        "OPENAI_API_KEY",
        _key,
        None,
        "Key of OpenAI.",
        is_secret=True,
        example="sk-proj-YOUR-KEY",
    )
    openai_base_url: str = _setting(
        "OPENAI_BASE_URL", _url, "https://api.openai.com/v1", "Address of OpenAI's API, or of one that speaks it."
    )
    data_dir: Path = _setting(
        "COPPERPLATE_DATA_DIR", Path, ".copperplate", "Folder of the local database and of locally stored pictures."
    )
    disk_cache_dir: Path | None = _setting(
        "COPPERPLATE_DISK_CACHE_DIR",
        Path,
        None,
        "Where a folder is made in which pictures read from the store are kept, for servers far from it. "
        "On Vercel the temporary folder.",
    )
    disk_cache_bytes: int = _setting(
        "COPPERPLATE_DISK_CACHE_MB",
        _megabytes,
        "256",
        "Megabytes that this folder may grow to; 0 keeps nothing. A Vercel function has 500 in all.",
    )
    wait: timedelta = _setting(
        "COPPERPLATE_WAIT_SECONDS",
        _wait,
        "30",
        "How long a request waits for a picture that is being made; then 503 with Retry-After, the generation goes on.",
    )
    lease: timedelta = _setting(
        "COPPERPLATE_LEASE_SECONDS",
        _positive_seconds,
        "20",
        "How long a leader that stops answering keeps its right to generate.",
    )
    heartbeat: timedelta = _setting(
        "COPPERPLATE_HEARTBEAT_SECONDS",
        _positive_seconds,
        "4",
        "How often a leader renews its lease; at most a quarter of the lease.",
    )
    stop: timedelta = _setting(
        "COPPERPLATE_STOP_SECONDS",
        _seconds,
        "7",
        "How long a server that is told to stop lets pictures be finished before it hands them over; "
        "two seconds less than the platform grants (Docker 10, Kubernetes 30). On Vercel: none.",
    )
    max_waiters: int = _setting(
        "COPPERPLATE_MAX_WAITERS",
        _count,
        "5000",
        "Requests that may wait for one picture in one process; more are answered 503.",
    )
    max_connections: int = _setting(
        "COPPERPLATE_MAX_CONNECTIONS",
        _count,
        "5000",
        "Connections that one process holds; fewer where the limit of open files is low. "
        "At the bound the one that has kept the server waiting longest is closed.",
    )
    painter: timedelta = _setting(
        "COPPERPLATE_PAINTER_SECONDS", _seconds, "0", "Time the painter pretends to need for a picture."
    )
    public_base_url: str | None = _setting(
        "COPPERPLATE_PUBLIC_BASE_URL",
        _url,
        None,
        "Address people reach this server at: what it prints and answers as an address begins so.",
        example="https://pictures.example.com",
    )
    allowed_hosts: tuple[str, ...] | None = _setting(
        "COPPERPLATE_ALLOWED_HOSTS",
        _hosts,
        None,
        "Without `COPPERPLATE_PUBLIC_BASE_URL`: host names, with commas between, that addresses are made from where a "
        "request names them. Those of this machine, and on Vercel the deployment's own, are allowed as they are.",
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] | None = _setting(
        "COPPERPLATE_TRUSTED_PROXIES",
        _networks,
        None,
        "Addresses and networks, with commas between, of proxies in front of `serve` whose `X-Forwarded-Proto`, "
        "`-Host` and `-For` count; they must set or remove all three. On Vercel the platform's count as they are.",
    )
    cron_secret: str | None = _setting(
        "CRON_SECRET",
        _secret,
        None,
        "Bearer secret of the cleanup route, 16 characters or more; without it that route is closed.",
        is_secret=True,
        example="what `openssl rand -hex 32` prints",
    )
    metrics_token: str | None = _setting(
        "COPPERPLATE_METRICS_TOKEN",
        _secret,
        None,
        "Bearer secret of `/metrics`, 16 characters or more; without it that route is closed.",
        is_secret=True,
        example="what `openssl rand -hex 32` prints",
    )
    vercel_token: str | None = _setting(
        "COPPERPLATE_VERCEL_TOKEN",
        _secret,
        None,
        "Token of Vercel's API: with it `copperplate purge` reaches the CDN too.",
        is_secret=True,
        example="what Vercel shows under Account Settings, Tokens",
    )
    vercel_project_id: str | None = _setting(
        "VERCEL_PROJECT_ID", _text, None, "The project whose CDN is purged; Vercel sets it in a deployment."
    )
    vercel_team_id: str | None = _setting("VERCEL_TEAM_ID", _text, None, "The team that project belongs to, if any.")
    vercel_url: str | None = _setting("VERCEL_URL", _text, None, "Host of the deployment; set by Vercel.")
    vercel_branch_url: str | None = _setting(
        "VERCEL_BRANCH_URL", _text, None, "Host of the branch's newest deployment; set by Vercel."
    )
    vercel_production_url: str | None = _setting(
        "VERCEL_PROJECT_PRODUCTION_URL", _text, None, "Host of the project in production; set by Vercel."
    )
    vercel_api_url: str = _setting(
        "COPPERPLATE_VERCEL_API_URL",
        _service_url,
        "https://api.vercel.com",
        "Address of Vercel's API; http only on this machine, for a stand-in.",
    )
    port: int = _setting("PORT", _port, "8000", "Port of the HTTP server.")
    on_vercel: bool = _setting("VERCEL", _flag, "0", "Set to 1 by Vercel.")

    def __post_init__(self) -> None:
        """Check what concerns more than one setting."""
        if self.heartbeat * 4 > self.lease:
            raise Misconfigured(f"{TOO_SLOW}. See {DOCS}.")

    @property
    def supabase_key(self) -> str | None:
        """The project's key: a secret one, else that of the older generation."""
        return self.supabase_secret_key or self.supabase_service_role_key

    @property
    def has_disk_cache(self) -> bool:
        """Whether pictures are kept on disk after they were read from the store."""
        return self.disk_cache_bytes > 0 and (self.on_vercel or self.disk_cache_dir is not None)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the environment (an empty variable counts as unset); raises `Misconfigured` with every fault."""
        settings, faults = cls.read(environ)
        if faults:
            raise Misconfigured("; ".join(faults.values()) + f". See {DOCS}.")
        return settings

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> tuple[Settings, dict[str, str]]:
        """What can be read of the environment, and the faults by variable; what is faulty counts as unset."""
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        faults: dict[str, str] = {}
        for each in fields(cls):
            variable = each.metadata["variable"]
            try:
                values[each.name] = _parse(each, environ.get(variable))
            except ValueError as error:
                values[each.name] = _parse(each, None)
                example = each.metadata["example"]
                faults[variable] = f"{variable} must be {error}" + (f", such as {example}" if example else "")
        if values["heartbeat"] * 4 > values["lease"]:
            pair = {each.metadata["variable"]: each for each in fields(cls) if each.name in ("heartbeat", "lease")}
            if not pair.keys() & faults.keys():
                faults[next(iter(pair))] = TOO_SLOW
            values |= {each.name: _parse(each, None) for each in pair.values()}
        return cls(**values), faults


def _parse(each: Field[Any], raw: str | None) -> Any:
    raw = raw or each.metadata["default"]
    return None if raw is None else each.metadata["parse"](raw)


MIN_SECRET_CHARS: Final = 16
MIN_JWT_SECRET_CHARS: Final = 32
DOCS: Final = "docs/settings.md"
TOO_SLOW: Final = "COPPERPLATE_HEARTBEAT_SECONDS must be at most a quarter of COPPERPLATE_LEASE_SECONDS"

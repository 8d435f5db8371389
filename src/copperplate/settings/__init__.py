"""Settings: default, then environment, then check; every fault is reported at once."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from copperplate.errors import Misconfigured
from copperplate.settings import formats
from copperplate.settings.fields import default_of, read_fields, setting
from copperplate.settings.tiers import TierSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from ipaddress import IPv4Network, IPv6Network

    from copperplate.model import PictureFormat

DOCS: Final = "docs/settings.md"
# Every provider, with the variable of the key it needs.
PROVIDER_KEYS: Final[Mapping[str, str | None]] = MappingProxyType(
    {"painter": None, "fal": "FAL_KEY", "openai": "OPENAI_API_KEY"}
)
TOO_SLOW: Final = "COPPERPLATE_HEARTBEAT_SECONDS must be at most a quarter of COPPERPLATE_LEASE_SECONDS"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings(TierSettings):
    """Everything that can be set, by environment variable. Read once, in `compose`."""

    database_url: str | None = setting(
        "DATABASE_URL",
        formats.database_url,
        None,
        "Postgres to use as ledger, for `serve`, `migrate` and `stats`. `copperplate dev` always runs its own.",
        is_secret=True,
        example="postgresql://user:password@host:5432/postgres",
    )
    pooler: Literal["transaction", "session"] | None = setting(
        "COPPERPLATE_POOLER",
        formats.one_of("transaction", "session"),
        None,
        "How a pooler before `DATABASE_URL` lends sessions of Postgres; unset, a pooler that is found counts as "
        "`transaction`. `session` lends one to each connection, which then listens and prepares statements.",
    )
    supabase_url: str | None = setting(
        "SUPABASE_URL",
        formats.service_url,
        None,
        "Address of the Supabase project, which then is ledger and store; needed on Vercel.",
        example="https://YOUR-PROJECT.supabase.co",
    )
    supabase_secret_key: str | None = setting(
        "SUPABASE_SECRET_KEY",
        formats.secret_key,
        None,
        "Secret key of the Supabase project, `sb_secret_…`; needed beside `SUPABASE_URL`.",
        is_secret=True,
        example="sb_secret_YOUR-KEY",
    )
    supabase_service_role_key: str | None = setting(
        "SUPABASE_SERVICE_ROLE_KEY",
        formats.secret_key,
        None,
        "Key of the older generation, used where `SUPABASE_SECRET_KEY` is not set.",
        is_secret=True,
        example="eyJhbGciOi.YOUR.KEY",
    )
    supabase_jwt_secret: str | None = setting(
        "SUPABASE_JWT_SECRET",
        formats.jwt_secret,
        None,
        "Legacy projects only: what users' tokens are signed with (HS256), 32 characters or more. Others publish keys.",
        is_secret=True,
        example="what the dashboard shows under Project Settings, JWT Keys",
    )
    ledger: str | None = setting(
        "COPPERPLATE_LEDGER",
        formats.one_of("postgres"),
        None,
        "`postgres` reaches the ledger by `DATABASE_URL` although `SUPABASE_URL` is set; pictures stay in Supabase.",
    )
    provider: str | None = setting(
        "COPPERPLATE_PROVIDER",
        formats.one_of(*PROVIDER_KEYS),
        None,
        "Who makes pictures: `fal`, `openai` or `painter`, which needs no key and draws locally. "
        "Without it fal where `FAL_KEY` is set, else the painter (never on Vercel).",
    )
    image_model: str | None = setting(
        "COPPERPLATE_IMAGE_MODEL",
        formats.text,
        None,
        "Model of fal or OpenAI: `fal-ai/flux/schnell` or `gpt-image-2.5-flare` unless set. The painter has its own.",
        unset="by provider",
    )
    memoji_model: str | None = setting(
        "COPPERPLATE_MEMOJI_MODEL",
        formats.text,
        None,
        "The same for memoji, which OpenAI makes where `OPENAI_API_KEY` is set.",
    )
    render_ahead: tuple[PictureFormat, ...] = setting(
        "COPPERPLATE_RENDER_AHEAD",
        formats.render_ahead,
        "webp",
        "Formats, with a comma between, in which every new picture is stored beside its original though nobody asked: "
        "`webp`, `avif`, or `off`.",
    )
    provider_deadline: timedelta = setting(
        "COPPERPLATE_PROVIDER_SECONDS",
        formats.wait,
        "120",
        "How long a leader waits for fal or OpenAI. A job of fal that takes longer is collected by a later request.",
    )
    fal_key: str | None = setting(
        "FAL_KEY", formats.key, None, "Key of fal.", is_secret=True, example="YOUR-KEY-ID:YOUR-KEY-SECRET"
    )
    fal_queue_url: str = setting(
        "COPPERPLATE_FAL_QUEUE_URL",
        formats.service_url,
        "https://queue.fal.run",
        "Address of fal's queue; http only on this machine, for a stand-in.",
    )
    result_hosts: tuple[str, ...] = setting(
        "COPPERPLATE_RESULT_HOSTS",
        formats.domains,
        "",
        "Hosts beside fal's own from which its pictures may be fetched: names, or `.suffix` for a domain and all "
        "below it.",
    )
    job_retention: timedelta = setting(
        "COPPERPLATE_JOB_RETENTION_SECONDS",
        formats.positive_seconds,
        "86400",
        "How long fal is told to keep a picture (`X-Fal-Object-Lifecycle-Preference`), a day at most. A paid job whose "
        "picture cannot be had is collected again for so long; then one new submit is paid for.",
    )
    openai_api_key: str | None = setting(
        "OPENAI_API_KEY", formats.key, None, "Key of OpenAI.", is_secret=True, example="sk-proj-YOUR-KEY"
    )
    openai_base_url: str = setting(
        "OPENAI_BASE_URL",
        formats.url,
        "https://api.openai.com/v1",
        "Address of OpenAI's API, or of one that speaks it.",
    )
    data_dir: Path = setting(
        "COPPERPLATE_DATA_DIR", Path, ".copperplate", "Folder of the local database and of locally stored pictures."
    )
    wait: timedelta = setting(
        "COPPERPLATE_WAIT_SECONDS",
        formats.wait,
        "30",
        "How long a request waits for a picture that is being made; then 503 with Retry-After, the generation goes on.",
    )
    lease: timedelta = setting(
        "COPPERPLATE_LEASE_SECONDS",
        formats.positive_seconds,
        "20",
        "How long a leader that stops answering keeps its right to generate.",
    )
    heartbeat: timedelta = setting(
        "COPPERPLATE_HEARTBEAT_SECONDS",
        formats.positive_seconds,
        "4",
        "How often a leader renews its lease; at most a quarter of the lease.",
    )
    stop: timedelta = setting(
        "COPPERPLATE_STOP_SECONDS",
        formats.seconds,
        "7",
        "How long a server that is told to stop lets pictures be finished before it hands them over; "
        "two seconds less than the platform grants (Docker 10, Kubernetes 30). On Vercel: none.",
    )
    max_waiters: int = setting(
        "COPPERPLATE_MAX_WAITERS",
        formats.count,
        "5000",
        "Requests that may wait for one picture in one process; more are answered 503.",
    )
    work_items: int = setting(
        "COPPERPLATE_WORK_ITEMS",
        formats.count,
        "4",
        "Pictures that work steps make at once (batches, warming, promises whose process died), over all processes "
        "together; on Vercel also how many the end of one call takes. See [work](work.md).",
    )
    max_connections: int = setting(
        "COPPERPLATE_MAX_CONNECTIONS",
        formats.count,
        "5000",
        "Connections that one process holds; fewer where the limit of open files is low. "
        "At the bound the one that has kept the server waiting longest is closed.",
    )
    log_level: Literal["debug", "info", "warning", "error"] | None = setting(
        "COPPERPLATE_LOG_LEVEL",
        formats.level,
        None,
        "The least level of log lines: `info` has one for each request and each state of a generation, `warning` has "
        "what somebody should look at. See [logs](http.md#logs).",
        unset="`info` on Vercel and with `--verbose`; else `info` without those of requests and generations",
    )
    painter: timedelta = setting(
        "COPPERPLATE_PAINTER_SECONDS", formats.seconds, "0", "Time the painter pretends to need for a picture."
    )
    provenance: Literal["xmp", "off"] = setting(
        "COPPERPLATE_PROVENANCE",
        formats.one_of("xmp", "off"),
        "xmp",
        "Whether pictures that are encoded here say that a model made them, and which: `xmp` in their XMP; `off` not "
        "at all. Switched on, those kept without it are encoded again when they are asked for. See "
        "[provenance](provenance.md).",
    )
    public_base_url: str | None = setting(
        "COPPERPLATE_PUBLIC_BASE_URL",
        formats.url,
        None,
        "Address people reach this server at: what it prints and answers as an address begins so.",
        example="https://pictures.example.com",
    )
    allowed_hosts: tuple[str, ...] | None = setting(
        "COPPERPLATE_ALLOWED_HOSTS",
        formats.hosts,
        None,
        "Without `COPPERPLATE_PUBLIC_BASE_URL`: host names, with commas between, that addresses are made from where a "
        "request names them, or a trusted proxy. Those of this machine, for callers on it, and on Vercel the "
        "deployment's own, are allowed as they are.",
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] | None = setting(
        "COPPERPLATE_TRUSTED_PROXIES",
        formats.networks,
        None,
        "Addresses and networks, with commas between, of proxies in front of `serve` whose `X-Forwarded-Proto`, "
        "`-Host` and `-For` count; they must set or remove all three. On Vercel the platform's count as they are.",
    )
    cron_secret: str | None = setting(
        "CRON_SECRET",
        formats.secret,
        None,
        "Bearer secret of the cleanup route, 16 characters or more; without it that route is closed.",
        is_secret=True,
        example="what `openssl rand -hex 32` prints",
    )
    metrics_token: str | None = setting(
        "COPPERPLATE_METRICS_TOKEN",
        formats.secret,
        None,
        "Bearer secret of `/metrics`, 16 characters or more; without it that route is closed.",
        is_secret=True,
        example="what `openssl rand -hex 32` prints",
    )
    url_signing_keys: tuple[tuple[str, str], ...] | None = setting(
        "COPPERPLATE_URL_SIGNING_KEYS",
        formats.signing_keys,
        None,
        "Keys of signed URLs, `id:secret`; a secret is what `openssl rand -hex 32` prints. Two with a comma between "
        "while one replaces the other: the first signs, both are valid.",
        is_secret=True,
        example="2026-11:YOUR-SECRET-OF-32-CHARACTERS-OR-MORE",
    )
    vercel_token: str | None = setting(
        "COPPERPLATE_VERCEL_TOKEN",
        formats.secret,
        None,
        "Token of Vercel's API: with it work steps and `copperplate purge` reach the CDN too.",
        is_secret=True,
        example="what Vercel shows under Account Settings, Tokens",
    )
    vercel_project_id: str | None = setting(
        "VERCEL_PROJECT_ID", formats.text, None, "The project whose CDN is purged; Vercel sets it in a deployment."
    )
    vercel_team_id: str | None = setting(
        "VERCEL_TEAM_ID", formats.text, None, "The team that project belongs to, if any."
    )
    vercel_url: str | None = setting("VERCEL_URL", formats.text, None, "Host of the deployment; set by Vercel.")
    vercel_branch_url: str | None = setting(
        "VERCEL_BRANCH_URL", formats.text, None, "Host of the branch's newest deployment; set by Vercel."
    )
    vercel_production_url: str | None = setting(
        "VERCEL_PROJECT_PRODUCTION_URL", formats.text, None, "Host of the project in production; set by Vercel."
    )
    vercel_api_url: str = setting(
        "COPPERPLATE_VERCEL_API_URL",
        formats.service_url,
        "https://api.vercel.com",
        "Address of Vercel's API; http only on this machine, for a stand-in.",
    )
    port: int = setting("PORT", formats.port, "8000", "Port of the HTTP server.")
    on_vercel: bool = setting("VERCEL", formats.flag, "0", "Set to 1 by Vercel.")

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
        """Whether pictures are kept on disk: where it is asked for, or the store is far away."""
        is_far = self.on_vercel or self.supabase_url is not None
        return self.disk_cache_bytes > 0 and (is_far or self.disk_cache_dir is not None)

    @property
    def disk_cache_parent(self) -> Path | None:
        """Where the folder of these pictures is made; None for the system's temporary folder.

        That is all a Vercel function may write to. A server's is memory on many systems, is emptied at a restart, and
        belongs to every server of the user, where the data folder belongs to one.
        """
        return self.disk_cache_dir or (None if self.on_vercel else self.data_dir)

    def value_of(self, variable: str) -> Any:
        """The value of the setting with that variable; None where it is not set."""
        [name] = (field.name for field in dataclasses.fields(self) if field.metadata["variable"] == variable)
        return getattr(self, name)

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
        values, faults = read_fields(cls, environ)
        if values["heartbeat"] * 4 > values["lease"]:
            pair = {
                field.metadata["variable"]: field
                for field in dataclasses.fields(cls)
                if field.name in ("heartbeat", "lease")
            }
            if not pair.keys() & faults.keys():
                faults[next(iter(pair))] = TOO_SLOW
            values |= {field.name: default_of(field) for field in pair.values()}
        return cls(**values), faults

"""`copperplate keys`: make API keys, see what they may do, replace and end them."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from copperplate.access.api_keys import MARK, PREFIX_CHARS, make_key
from copperplate.api_keys import Scope
from copperplate.cli import consent
from copperplate.cli.arguments import add_json, dollar_amount, duration, pictures
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from copperplate.cli.shared import add_command, ask_ledger, say
from copperplate.cli.tables import duration_text, print_json, print_table, time_text
from copperplate.errors import NotFound
from copperplate.ports.access import NewApiKey
from copperplate.prices import MICRO

if TYPE_CHECKING:
    from copperplate.ports import ApiKeys
    from copperplate.ports.access import ApiKeyRecord

LONGEST_LIFE: Final = timedelta(days=36_500)
LONGEST_GRACE: Final = timedelta(days=365)
MAX_NAME_CHARS: Final = 100
_COLUMNS: Final = ("prefix", "state", "tier", "scopes", "visible", "cap_usd", "cap_pictures", "last_used_at", "name")


def add(commands: Any) -> None:
    """The command and its five parts."""
    parser = commands.add_parser(
        "keys",
        help="make, list, replace and revoke API keys",
        description="API keys: who may have pictures made, remove them, read what operators read.",
        allow_abbrev=False,
    )
    parts = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_create(parts)
    add_json(add_command(parts, "list", run_list, "list every key; none of them can be shown again"))
    add_json(_of_one(add_command(parts, "show", run_show, "show one key: what it may do and spend")))

    rotate = _of_one(add_command(parts, "rotate", run_rotate, "replace a key by a new one with the same rights"))
    rotate.add_argument(
        "--grace",
        type=_grace,
        default="24h",
        metavar="DURATION",
        help="how long the old one is still good, such as 90m or 2d; a number alone is hours, 0 is at once, "
        "and the next rotation ends it (default: 24h)",
    )
    consent.add_yes(rotate)
    add_json(rotate)

    revoke = _of_one(add_command(parts, "revoke", run_revoke, "end a key for good; it spends nothing from then on"))
    consent.add_yes(revoke)
    add_json(revoke)


def _add_create(parts: Any) -> None:
    create = add_command(parts, "create", run_create, "make a key; it is shown once and kept nowhere")
    create.add_argument("--tier", type=_tier, default="standard", help="a word for its callers (default: standard)")
    create.add_argument(
        "--scopes",
        type=_scopes,
        default=frozenset({Scope.GENERATE}),
        metavar="S,S",
        help="what it may do: generate, purge, admin (default: generate)",
    )
    create.add_argument("--name", type=_name, default="", help="what or whom it is for")
    create.add_argument(
        "--visible",
        action="store_true",
        help="it may stand in pages and in ?key=; it spends nothing unless a cap says how much",
    )
    create.add_argument("--cap-usd", type=dollar_amount, metavar="N", help="dollars it may spend a day; 0 is none")
    create.add_argument("--cap-pictures", type=pictures, metavar="N", help="pictures it may have made a day; 0 is none")
    create.add_argument(
        "--expires",
        type=_lifetime,
        metavar="DURATION",
        help="how long it is good, such as 12h, 30d or 8w; a number alone is days (default: never)",
    )
    add_json(create)


def run_create(arguments: argparse.Namespace) -> int:
    """A new key; the last line is the key alone."""
    if arguments.visible and arguments.scopes != {Scope.GENERATE}:
        say("copperplate: everybody can read a visible key: it may have the scope generate and no other [usage]")
        return EXIT_USAGE
    made = make_key()
    new = NewApiKey(
        prefix=made.prefix,
        digest=made.digest,
        name=arguments.name,
        tier=arguments.tier,
        scopes=arguments.scopes,
        is_visible=arguments.visible,
        expires_in=arguments.expires,
        cap_micro_usd=arguments.cap_usd,
        cap_pictures=arguments.cap_pictures,
    )
    record = ask_ledger(arguments, lambda keys, _: keys.create_api_key(new))
    _print_new(record, made.text, as_json=arguments.json)
    return EXIT_OK


def run_list(arguments: argparse.Namespace) -> int:
    """Every key, the oldest first."""
    records = ask_ledger(arguments, lambda keys, _: keys.list_api_keys())
    rows = [_shown(record) for record in records]
    if arguments.json:
        print_json(rows)
        return EXIT_OK
    head = [name.replace("_", " ") for name in _COLUMNS]
    print_table([head, *([_cell(row[name]) for name in _COLUMNS] for row in rows)])
    return EXIT_OK


def run_show(arguments: argparse.Namespace) -> int:
    """One key, without the key itself."""
    _print(ask_ledger(arguments, lambda keys, _: _find(keys, arguments.prefix)), as_json=arguments.json)
    return EXIT_OK


def run_rotate(arguments: argparse.Namespace) -> int:
    """A new key of the same prefix; the old one ends after its grace."""
    grace, prefix = arguments.grace, arguments.prefix
    when = f"in {duration_text(grace)}" if grace else "at once"
    if not consent.can_be_had(arguments):
        return EXIT_USAGE
    if not consent.is_given(
        arguments, f"the key {MARK}{prefix}… that is in use now, {when}; a new one takes its place"
    ):
        return EXIT_FAILED
    made = make_key(prefix)
    record = ask_ledger(arguments, lambda keys, _: keys.rotate_api_key(prefix, made.digest, grace))
    _print_new(_require(record, prefix, " that is in force"), made.text, as_json=arguments.json)
    return EXIT_OK


def run_revoke(arguments: argparse.Namespace) -> int:
    """End a key; what it generates at the moment is finished."""
    prefix = arguments.prefix
    if not consent.can_be_had(arguments):
        return EXIT_USAGE
    if not consent.is_given(arguments, f"the key {MARK}{prefix}… for good; whoever uses it is refused"):
        return EXIT_FAILED
    record = ask_ledger(arguments, lambda keys, _: keys.revoke_api_key(prefix))
    _print(_require(record, prefix), as_json=arguments.json)
    return EXIT_OK


async def _find(keys: ApiKeys, prefix: str) -> ApiKeyRecord:
    records = await keys.list_api_keys()
    return _require(next((record for record in records if record.prefix == prefix), None), prefix)


def _require(record: ApiKeyRecord | None, prefix: str, which: str = "") -> ApiKeyRecord:
    if record is None:
        raise NotFound(f"There is no API key {MARK}{prefix}…{which}: `copperplate keys list` has them all.")
    return record


def _shown(record: ApiKeyRecord) -> dict[str, Any]:
    """A key for programs; times are ISO 8601 in UTC."""
    return {
        "prefix": record.prefix,
        "id": str(record.id),
        "name": record.name,
        "state": record.state(datetime.now(UTC)).value,
        "tier": record.tier,
        "scopes": sorted(record.scopes),
        "visible": record.is_visible,
        "cap_usd": None if record.cap_micro_usd is None else record.cap_micro_usd / MICRO,
        "cap_pictures": record.cap_pictures,
        "created_at": _time(record.created_at),
        "expires_at": _time(record.expires_at),
        "revoked_at": _time(record.revoked_at),
        "last_used_at": _time(record.last_used_at),
        "previous_until": _time(record.previous_until),
    }


def _print(record: ApiKeyRecord, *, as_json: bool) -> None:
    row = _shown(record)
    if as_json:
        print_json(row)
        return
    width = max(map(len, row))
    for name, value in row.items():
        print(f"{name.replace('_', ' '):<{width}}  {_cell(value)}")


def _print_new(record: ApiKeyRecord, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"key": text, **_shown(record)})
        return
    caps = [
        f"{name.replace('_', ' ')} {value}" for name in ("cap_usd", "cap_pictures") if (value := _cap(record, name))
    ]
    limits = ", ".join([*caps, f"expires {_time(record.expires_at) or 'never'}"])
    say(f"key {MARK}{record.prefix}…, tier {record.tier}, scopes {', '.join(sorted(record.scopes))}, {limits}")
    say("it is shown this once: only its SHA-256 is kept")
    print(text)


def _cap(record: ApiKeyRecord, name: str) -> str:
    value = _shown(record)[name]
    return "" if value is None else _cell(value)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, float):
        return f"{value:,.6f}".rstrip("0").rstrip(".")
    return "-" if value is None or value == "" else f"{value:,}" if isinstance(value, int) else str(value)


def _time(time: datetime | None) -> str | None:
    return None if time is None else time_text(time)


def _of_one(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "prefix", type=_prefix, metavar="PREFIX", help=f"the {PREFIX_CHARS} characters after {MARK} of the key"
    )
    return parser


def _prefix(raw: str) -> str:
    """With or without its mark. What is longer may be a whole key, which no message repeats."""
    prefix = raw.removeprefix(MARK).removesuffix("…")
    if re.fullmatch(f"[0-9A-Za-z]{{{PREFIX_CHARS}}}", prefix) is None:
        raise argparse.ArgumentTypeError(f"the {PREFIX_CHARS} characters after {MARK}, as `keys list` shows them")
    return prefix


def _scopes(raw: str) -> frozenset[Scope]:
    names = [name.strip() for name in raw.split(",")]
    if not set(names) <= set(Scope):
        raise argparse.ArgumentTypeError(f"some of {', '.join(Scope)}, with commas between them, not {raw!r}")
    return frozenset(map(Scope, names))


def _tier(raw: str) -> str:
    if re.fullmatch("[a-z0-9_-]{1,32}", raw) is None:
        raise argparse.ArgumentTypeError(f"1 to 32 of a-z, 0-9, _ and -, not {raw!r}")
    return raw


def _name(raw: str) -> str:
    if len(raw) > MAX_NAME_CHARS or not raw.isprintable():
        raise argparse.ArgumentTypeError(f"at most {MAX_NAME_CHARS} characters that can be printed")
    return raw


def _lifetime(raw: str) -> timedelta:
    return duration(raw, longest=LONGEST_LIFE, unit="d")


def _grace(raw: str) -> timedelta:
    return duration(raw, shortest=timedelta(), longest=LONGEST_GRACE, unit="h")

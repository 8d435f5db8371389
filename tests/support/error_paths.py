"""Every way to an error through HTTP, as one table: route, method, what is wrong, and the code that says so.

A path is played in a `World` of its own: an application in which something is missing, down, full or broken.
"""

# ruff: noqa: SIM905 - a table reads better in blocks than one value a line

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "cron-secret-of-the-zebra"
PROMPT = "prompt-of-the-zebra"
PICTURE = f"/64x64.png?text={PROMPT}"
READ = ("GET", "HEAD")
CLEANUP, STATS, EXPLAIN = "/api/cache/cleanup", "/api/generation/stats", "/api/explain"
ROUTES = {
    "/": "GET",
    "/robots.txt": "GET",
    "/healthz": "GET",
    STATS: "GET",
    "/api/cache/stats": "GET",
    EXPLAIN: "GET",
    CLEANUP: "GET POST",
    "/openapi.json": "GET",
    "/docs": "GET",
}
ASKS_THE_LEDGER = (STATS, "/api/cache/stats", CLEANUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One way to an error; `route` names what was asked for where the target does not."""

    route: str
    method: str
    cause: str
    code: str
    status: int
    target: str = ""
    world: str = "fine"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    @property
    def name(self) -> tuple[str, str, str, str]:
        """What makes it another path than others."""
        return self.route, self.method, f"{self.world}: {self.cause}", self.code

    @property
    def url(self) -> str:
        return self.target or self.route


def all_paths() -> list[Path]:
    """The whole table, but for what providers do wrong."""
    return list(chain(_bad_pictures(), _pictures(), _wrong_methods(), _unknown(), _cron(), _explanations(), _worlds()))


BAD_URLS: dict[str, tuple[str, dict[str, str]]] = {
    "invalid_size": (
        "/{}.png?text=a",
        {"too small": "63x64", "too large": "2049x64", "zero": "0x64", "huge": "99999999x64", "leading zero": "064x64"},
    ),
    "invalid_format": ("/64x64.{}?text=a", {"gif": "gif", "svg": "svg", "bmp": "bmp", "html": "html", "none": "x"}),
    "invalid_text": (
        "/64x64.png{}",
        {
            "missing": "",
            "empty": "?text=",
            "spaces": "?text=%20%20",
            "1,001 characters": "?text=" + "a" * 1_001,
            "control character": "?text=a%00b",
        },
    ),
    "invalid_query": (
        "/64x64.png?{}",
        {
            "no utf-8": "text=%ff",
            "lone surrogate": "text=%ED%A0%80",
            "text and prompt": "text=a&prompt=b",
            "two texts": "text=a&text=b",
            "64 KB": "text=" + "a" * 65_536,
        },
    ),
    "invalid_display": (
        "/64x64.png?text=a&w={}",
        {"zero": "0", "fraction": "640.5", "other digits": "%D9%A6%D9%A4%D9%A0", "fit": "64&h=64&fit=fill"},
    ),
    "invalid_seed": (
        "/64x64.png?text=a&seed={}",
        {"negative": "-1", "too large": "18446744073709551616", "word": "x", "fraction": "1.5"},
    ),
    "invalid_model": ("/64x64.png?text=a&model={}", {"unknown": "dall-e-2", "path": "..%2f..", "long": "m" * 300}),
}


def _bad_pictures() -> Iterator[Path]:
    for code, (pattern, values) in BAD_URLS.items():
        for cause, value in values.items():
            for method in READ:
                url = pattern.format(value)
                yield Path(route="picture", method=method, cause=cause, code=code, status=400, target=url)


LONG = (("x-long", "a" * 100_000), ("cookie", "b" * 10_000), ("if-none-match", '"c", ' * 5_000))


PREFETCHED = (("sec-purpose", "prefetch"), ("prefer", "respond-async"))


def _pictures() -> Iterator[Path]:
    base = Path(route="picture", method="GET", cause="", code="not_generated", status=404, target=PICTURE)
    yield replace(base, method="HEAD", cause="never made")
    yield replace(base, method="HEAD", cause="never made, whatever is held", headers=(("if-none-match", "*"),))
    yield replace(base, method="HEAD", cause="never made, only a part", headers=(("range", "bytes=0-1"),))
    yield replace(base, method="HEAD", cause="never made, long headers", headers=LONG)
    for method in ("GET", "HEAD"):
        stored = replace(base, method=method, code="not_cached", status=504)
        yield replace(stored, cause="only what is stored", headers=(("cache-control", "only-if-cached"),))
        yield replace(stored, cause="only what is stored, asked early", headers=PREFETCHED)
    failing = {
        "wait over": ("still_generating", 503, "not_generated", 404),
        "waiters full": ("too_many_waiters", 503, "not_generated", 404),
        "ledger down": ("ledger_unavailable", 503, "ledger_unavailable", 503),
        "ledger refuses": ("ledger_misconfigured", 503, "ledger_misconfigured", 503),
        "store down": ("store_unavailable", 503, "store_unavailable", 503),
        "pooler full": ("pooler_exhausted", 503, "pooler_exhausted", 503),
        "folder full": ("folder_unavailable", 503, "folder_unavailable", 503),
        "store refuses": ("store_misconfigured", 503, "store_misconfigured", 503),
        "broken": ("internal", 500, "internal", 500),
    }
    for world, (code, status, head_code, head_status) in failing.items():
        for cause, headers in {
            "asked": (),
            "whatever is held": (("if-none-match", "*"),),
            "only a part": (("range", "bytes=0-1"),),
            "long headers": LONG,
        }.items():
            yield replace(base, cause=cause, code=code, status=status, world=world, headers=headers)
        yield replace(base, method="HEAD", cause="asked", code=head_code, status=head_status, world=world)


def _wrong_methods() -> Iterator[Path]:
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "get"):
        yield Path(
            route="picture", method=method, cause="method", code="method_not_allowed", status=405, target=PICTURE
        )
    for route, allowed in ROUTES.items():
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
            if method not in allowed.split():
                yield Path(route=route, method=method, cause="method", code="method_not_allowed", status=405)


def _unknown() -> Iterator[Path]:
    for target in ("/nowhere", "/api/", "/api/generation", "/healthz/", "/favicon.ico", "/..%2fetc", "/" + "a" * 9_000):
        for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
            yield Path(route="unknown", method=method, cause=target[:20], code="not_found", status=404, target=target)


WRONG_SECRETS = {
    "no header": (),
    "empty": (("authorization", ""),),
    "Bearer alone": (("authorization", "Bearer"),),
    "Bearer and a space": (("authorization", "Bearer "),),
    "None": (("authorization", "Bearer None"),),
    "undefined": (("authorization", "Bearer undefined"),),
    "null": (("authorization", "Bearer null"),),
    "another secret": (("authorization", "Bearer " + "x" * len(SECRET)),),
    "half of it": (("authorization", f"Bearer {SECRET[:12]}"),),
    "more than it": (("authorization", f"Bearer {SECRET}x"),),
    "Basic": (("authorization", f"Basic {SECRET}"),),
    "without a scheme": (("authorization", SECRET),),
    "no ascii": (("authorization", "Bearer \xe9\xff"),),
    "long": (("authorization", "Bearer " + "a" * 100_000),),
}


def _cron() -> Iterator[Path]:
    allowed = (("authorization", f"Bearer {SECRET}"),)
    strange = Path(route=CLEANUP, method="", cause="a parameter too many", code="unknown_parameter", status=400)
    for method in ("GET", "POST"):
        yield replace(strange, method=method, target=f"{CLEANUP}?dry=1", headers=allowed)
        for cause, headers in WRONG_SECRETS.items():
            base = Path(route=CLEANUP, method=method, cause=cause, code="unauthorized", status=401, headers=headers)
            yield base
            yield replace(base, code="misconfigured", status=503, world="no cron secret")


BAD_EXPLANATIONS = {
    "nothing named": ("", "invalid_query"),
    "no picture": ("?url=/nowhere", None),
    "bad size": ("?url=" + quote("/1x1.png?text=a", safe=""), None),
    "bad text": ("?url=" + quote("/64x64.png?text=", safe=""), None),
    "bad width": ("?text=a&width=wide", "invalid_request"),
    "bad height": ("?text=a&height=1.5", "invalid_request"),
    "bad format": ("?text=a&format=gif", "invalid_format"),
    "bad seed": ("?text=a&seed=-1", "invalid_seed"),
    "bad width shown": ("?text=a&w=0", "invalid_display"),
    "bad model": ("?text=a&model=x", "invalid_model"),
    "bad memoji": ("?memoji=%7B%22hair%22%3A1%7D", "invalid_configuration"),
    "memoji that is no object": ("?memoji=%5B%5D", "invalid_configuration"),
    "memoji of another model": ("?memoji=%7B%22model%22%3A%22x%22%7D", "invalid_model"),
    "memoji beside a picture": ("?memoji=%7B%7D&text=a", "invalid_query"),
    "bad other": ("?text=a&other=%2fnowhere", None),
}


def _explanations() -> Iterator[Path]:
    for cause, (query, code) in BAD_EXPLANATIONS.items():
        if code is not None:
            yield Path(route=EXPLAIN, method="GET", cause=cause, code=code, status=400, target=EXPLAIN + query)


def _worlds() -> Iterator[Path]:
    """Routes over something that is missing, down or broken."""
    allowed = (("authorization", f"Bearer {SECRET}"),)
    for world in ("misconfigured", "not started"):
        for route in (*ROUTES, PICTURE, "/nowhere", "/64x64.gif?text=a"):
            for method in ("GET", "HEAD", "POST", "OPTIONS"):
                if route != "/healthz":
                    yield Path(
                        route=route, method=method, cause="anything", code="misconfigured", status=503, world=world
                    )
    for world, code, status in (("ledger down", "ledger_unavailable", 503), ("broken", "internal", 500)):
        for route in ASKS_THE_LEDGER:
            yield Path(route=route, method="GET", cause="asked", code=code, status=status, world=world, headers=allowed)
        yield Path(route=CLEANUP, method="POST", cause="asked", code=code, status=status, world=world, headers=allowed)


# --- what providers do wrong ---------------------------------------------------------------------

OF_FAL = """drop html_answer empty_answer broken_json redirect_post receipt_html flood_receipt=1100000
http_400 http_401 http_402 http_403 http_404 http_408 http_413 http_422 http_429 http_429=7 http_429=-1
http_429=1000000000 http_429=date http_429=past http_500 http_502 http_502_html http_503 http_503_html http_504
moderated job_moderated job_invalid job_500 job_503 job_504 job_failed_200 nsfw nsfw_unlisted
two_images black white too_small one_pixel oversized bomb animated gif""".split()
OF_OPENAI = """drop moderated http_400 http_401 http_403 http_404 http_408 http_409 http_422 http_429 http_429=7
http_429=-1 no_quota http_500 http_502_html http_503 http_504_html redirect_post html_answer empty_answer broken_json
two_images no_images images_missing images_null image_without_bytes bytes_not_base64 bytes_number result_list
result_null flood_answer=60000000 gzip_answer black white html json zero_bytes truncated_jpeg truncated_png too_small
one_pixel bomb animated gif svg noise""".split()
# A job of fal's that may yet be had: nothing failed, the wait is over, or it is left to a later collector.
UNDECIDED = """stuck status_401 status_500 status_404 status_html status_list no_position unknown_status=cancelled
result_http_500 result_list result_null result_404 result_html flood_status=1100000 flood_result=1100000 gzip_status
no_images images_missing images_null image_is_text image_without_url image_url_number
file_500 file_403 file_404 file_410 file_metadata file_foreign file_lookalike file_userinfo file_port file_scheme
file_no_url file_data_broken redirect_metadata redirect_foreign redirect_loop
html json zero_bytes truncated_jpeg truncated_png svg noise""".split()
TRANSIENT = "rate_limited transient ambiguous".split()

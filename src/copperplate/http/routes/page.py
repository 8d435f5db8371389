"""The front page, the reference and `robots.txt`."""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, PlainTextResponse

from copperplate.errors import CopperplateError
from copperplate.http.dependencies import ServicesDep  # noqa: TC001 - FastAPI reads it
from copperplate.http.routes.reference import render
from copperplate.prices import dollars

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copperplate.ports.statistics import GenerationStats, Savings

router = APIRouter(include_in_schema=False)

EXAMPLE: Final = "/1024x1024.jpg?text=A%20beautiful%20sunset"
# Every picture URL may cost money: crawlers are to stay away.
ROBOTS: Final = "User-agent: *\n" + "".join(
    f"Disallow: /{pattern}\n"
    for pattern in ("*x*.jpg", "*x*.jpeg", "*x*.png", "*x*.webp", "*x*.avif", "*x*.auto", "api/")
)
_HEADERS: Final = {
    "cache-control": "public, max-age=60",
    "content-security-policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Copperplate</title>
<style>
body { font: 1.05rem/1.6 Georgia, "Times New Roman", serif; max-width: 42rem; margin: 3rem auto; padding: 0 1.2rem; }
h1 { font-weight: normal; letter-spacing: .02em; margin-bottom: 0; }
code { font: .9em/1.5 ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
img { width: 100%; max-width: 24rem; aspect-ratio: 1; height: auto; border: 1px solid; display: block; }
figure { margin: 2rem 0; }
</style>
</head>
<body>
<main>
<h1>Copperplate</h1>
<p>Makes each distinct AI picture once and serves every later request from the cache.</p>
<figure>
<a href="$example"><img src="$example" width="1024" height="1024" alt="A beautiful sunset"></a>
<figcaption><code>$example</code></figcaption>
</figure>
<p>Write the size, the format and the text into the address and it is a picture. The first request
makes it; all others, and all that come meanwhile, share it. <code>.jpg</code>, <code>.png</code>, <code>.webp</code>,
<code>.avif</code> and every <code>&amp;w=640</code> of one text cost one generation.</p>
<p>$savings <a href="/api/generation/stats">All figures</a>.</p>
<p><a href="/docs">Every address this server answers</a>;
<a href="/api/explain?url=$example_encoded">how that address becomes a key</a>.
How it works and how to run it is in the folder <code>docs</code> of the repository.</p>
</main>
</body>
</html>
""")


@router.get("/", response_class=HTMLResponse)
async def front_page(services: ServicesDep) -> HTMLResponse:
    """What this is, one picture, and links. Answers without the database, too."""
    try:
        stats = await services.ledger.generation_stats()
        savings = _savings(stats, await services.ledger.savings())
    except CopperplateError:
        savings = "The figures are out of reach just now."
    encoded = EXAMPLE.replace("%", "%25").replace("?", "%3F").replace("=", "%3D")
    return HTMLResponse(_PAGE.substitute(example=EXAMPLE, example_encoded=encoded, savings=savings), headers=_HEADERS)


def _savings(stats: GenerationStats, kinds: Iterable[Savings]) -> str:
    """One sentence, of all kinds of pictures."""
    micro_usd, unpriced = 0, 0
    for kind in kinds:
        micro_usd += kind.saved_micro_usd
        unpriced += kind.unpriced_saved
    efficiency = stats.efficiency_percent
    share = "" if efficiency is None else f" ({efficiency:.1f} % of what was served)"
    unknown = f", and {unpriced:,} at a price that is not known" if unpriced else ""
    return (
        f"Requests so far: {stats.total_requests:,}; calls to the provider: {stats.total_api_calls_made:,}; "
        f"saved: {stats.total_api_calls_saved:,}{share}, which is {dollars(micro_usd)}{unknown}."
    )


@router.get("/docs", response_class=HTMLResponse)
async def reference(request: Request) -> HTMLResponse:
    """Every address, from the OpenAPI document; for people, and without a script."""
    return HTMLResponse(render(request.app.openapi()), headers=_HEADERS)


@router.get("/robots.txt", response_class=PlainTextResponse)
async def robots() -> PlainTextResponse:
    """Keep crawlers away from whatever may cost money."""
    return PlainTextResponse(ROBOTS, headers={"cache-control": "public, max-age=86400"})

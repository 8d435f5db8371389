"""What every builder of addresses and markup is held to: `python -m tests.support.markup_vectors` writes the file.

Calls are named as in client/*.ts: arguments of those, in JSON, and the answer. `refused` are calls that raise.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from copperplate import markup

FILE: Final = Path(__file__).parents[2] / "client" / "pictures.vectors.json"
ABOUT: Final = (
    "Addresses, srcset and markup of pictures: calls of client/picture_url.ts and client/srcset.ts, and their answers. "
    "Calls in `refused` raise. Each address of `loaded` is what next_loader.ts answers."
)
FOX: Final = {"base": "https://pictures.example.com", "text": "a red fox", "width": 1024, "height": 768}
ODD: Final = {
    "text": '"fox" & <hen>, 100% (it\'s) a*b! ~ 狐 🦊',
    "width": 64,
    "height": 2048,
    "model": "fal-ai/flux/dev",
}
SEEDED: Final = {**FOX, "base": "https://p.example.com/", "seed": 0, "access": "kid=a&exp=1796040000&sig=x-_"}
BACKGROUND: Final = {"color": "#0a1B2c", "url": "https://p.example.com/64x64.webp?text=a&placeholder"}

URLS: Final = (
    *((FOX, {}), (ODD, {}), (SEEDED, {}), (SEEDED, {"format": "auto", "w": 300}), (FOX, {"format": "png", "q": 60})),
    *((FOX, {"w": w}) for w in (1, 16, 17, 641, 828, 829, 1024, 1080, 99_999)),
    *((FOX, {"q": q, "format": "webp"}) for q in (1, 40, 41, 76, 85, 86, 100)),
    *((FOX, {"w": 600, "h": 300, "fit": fit, "format": "avif"}) for fit in ("cover", "contain")),
    (FOX, {"w": 300, "fit": "contain"}),
)
SIZES: Final = (
    *({}, {"w": 1}, {"w": 384}, {"w": 829}, {"w": 1_000, "h": 1_000}, {"w": 16, "h": 2_048}, {"w": 99_999, "h": 1}),
    *({"w": w, "h": h, "fit": "contain"} for w, h in ((640, 100), (256, 2_048), (2_048, 2_048), (1, 99_999))),
)
SRCSETS: Final = (
    *((FOX, {}), (ODD, {}), (SEEDED, {"format": "avif", "q": 50}), ({**FOX, "width": 2048, "height": 2048}, {})),
    *((FOX, {"ratio": ratio}) for ratio in ((1, 1), (16, 9), (4, 3), (1, 3), (99, 1))),
    *((FOX, {"widths": widths}) for widths in ((64, 640), (2_048,), (300, 10, 300, 400), (1_024, 1_080))),
)
MARKUPS: Final = (
    (FOX, {"alt": "A red fox"}),
    (ODD, {"alt": "<b>\"A\" & 'b'</b>", "formats": ["webp", "png"], "sizes": "(min-width: 60rem) 50vw, 100vw"}),
    (SEEDED, {"alt": "", "loading": "eager", "decoding": "sync", "ratio": [16, 9], "q": 70, "background": BACKGROUND}),
    (FOX, {"alt": "A", "formats": ["jpg"], "widths": [640], "background": {"color": "#ffffff"}}),
    (FOX, {"alt": "A", "formats": ["auto"], "background": {"url": BACKGROUND["url"]}}),
)
REFUSED: Final = (
    *(("pictureUrl", FOX, {name: value}) for name in ("w", "q") for value in (0, -1, 100_000)),
    *(("pictureUrl", {**FOX, side: px}, {}) for side in ("width", "height") for px in (63, 2_049)),
    *(("pictureUrl", FOX, {"q": 101}), ("pictureUrl", FOX, {"h": 64}), ("pictureUrl", FOX, {"w": 64, "h": 0})),
    *(("srcset", FOX, {"widths": []}), ("srcset", FOX, {"ratio": [0, 1]}), ("srcset", FOX, {"q": 0})),
    *(("pictureMarkup", FOX, {"alt": "", "background": {"color": color}}) for color in ("red", "#fff", "#12345g")),
    *(("pictureMarkup", FOX, {"alt": "", "background": {"url": f"https://a{bad}b"}}) for bad in ('"', "\\", "\n")),
)
# Of next/image: src, width, quality, and what the browser shall ask for.
LOADED: Final = (
    ("/1024x768.webp?text=a", 640, None, "/1024x768.webp?text=a&w=640"),
    ("/1024x768.webp?text=a", 641, 75, "/1024x768.webp?text=a&w=750&q=75"),
    ("/1024x768.auto?text=a&seed=7", 3_840, 85, "/1024x768.auto?text=a&seed=7&w=1024"),
    ("https://p.example.com/64x64.jpg?text=a%26b", 32, 100, "https://p.example.com/64x64.jpg?text=a%26b&w=32&q=95"),
    ("/64x64.png?text=a&w=16&q=60&h=9&fit=contain&kid=k#top", 48, None, "/64x64.png?text=a&kid=k&w=48&q=60#top"),
    ("/64x64.jpg?text=why?&thumb=32", 16, None, "/64x64.jpg?text=why?&w=16"),
    ("/api/images/0af1", 3_840, None, "/api/images/0af1?w=2048"),
    (
        "/api/images/memoji-images/2026/11/ab.png?format=webp",
        100,
        1,
        "/api/images/memoji-images/2026/11/ab.png?format=webp&w=128&q=40",
    ),
    ("/64x64.jpg?prompt=a", 16, None, "/64x64.jpg?prompt=a&w=16"),
    ("/logo.svg", 640, 75, "/logo.svg"),
    ("https://cdn.example.com/1200x800.jpg?v=2", 640, 75, "https://cdn.example.com/1200x800.jpg?v=2"),
    ("https://other.example.com/a/1024x768.jpg", 640, 75, "https://other.example.com/a/1024x768.jpg"),
)


def call(name: str, picture: dict[str, Any], options: dict[str, Any] | None = None) -> Any:
    """What the Python builder answers where a JavaScript one is called like this."""
    given = dict(options or {})
    if name == "renditionSize":
        size = markup.rendition_size(markup.Picture(**picture).canvas, **given)
        return {"width": size.width, "height": size.height}
    if "ratio" in given:
        given["ratio"] = tuple(given["ratio"])
    if "background" in given:
        given["background"] = markup.Background(**given["background"])
    functions = {
        "pictureUrl": markup.picture_url,
        "placeholderUrl": markup.placeholder_url,
        "srcset": markup.srcset,
        "pictureMarkup": markup.picture_markup,
    }
    return functions[name](markup.Picture(**picture), **given)  # type: ignore[operator]


CALLS: Final = (
    *(("pictureUrl", *each) for each in URLS),
    *(("placeholderUrl", each) for each in (FOX, ODD, SEEDED)),
    *(("renditionSize", FOX, each) for each in SIZES),
    *(("srcset", *each) for each in SRCSETS),
    *(("pictureMarkup", *each) for each in MARKUPS),
)


def document() -> str:
    """The file."""
    made = {
        "about": ABOUT,
        "answered": [{"call": list(each), "answer": call(*each)} for each in CALLS],
        "refused": [list(each) for each in REFUSED],
        "loaded": [{"src": src, "width": width, "quality": quality, "url": url} for src, width, quality, url in LOADED],
    }
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")

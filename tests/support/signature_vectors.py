"""The vectors that every signer is held to: `python -m tests.support.signature_vectors` writes them from `CASES`.

They are a promise to whoever has signed URLs: a vector that is there is never changed, new ones are added.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from copperplate.access.signatures import SigningKeys, sign_url
from copperplate.recipes.image import DEFAULT_MODEL, STANDARD_SETTINGS
from copperplate.recipes.url import AUTO, in_format, parse_picture_path, parse_picture_query, split_url

FILE: Final = Path(__file__).parents[2] / "client" / "sign.vectors.json"
ABOUT: Final = (
    "Signed URLs: sig = base64url(HMAC-SHA256(secret, 'copperplate-url-v1\\n' kid '\\n' exp '\\n' generation_key)), "
    "without padding. `parts` are what public.sign_picture_url takes. Addresses in `refused` cannot be signed."
)
KEYS: Final = {"2026-11": "kQ7zV2mXw9RfT4yB8cNpL3sJ6hGdA1eU", "old": "0" * 63 + "~:!@#$%^&*()[]{}" + "x" * 60}
NOON: Final = "2026-11-30T12:00:00.000Z"
SUNSET: Final = "text=A%20beautiful%20sunset%20over%20the%20sea"
MODELS: Final = {
    **{model: list(settings) for model, settings in STANDARD_SETTINGS.items()},
    "gpt-image-2.5-flare": ["quality=medium", "background=opaque", "moderation=auto", "quality=medium"],
    "fal-ai/flux/dev": ["enable_safety_checker=true", "num_inference_steps=28"],
}


def case(name: str, url: str, **others: str) -> dict[str, str]:
    """What is signed: by `key_id` until `expires_at` at a deployment with `default_model`, unless told otherwise."""
    usual = {"key_id": "2026-11", "expires_at": NOON, "default_model": DEFAULT_MODEL}
    return {"name": name, "url": url, **usual, **others}


CASES: Final = (
    case("the picture of docs/keys.md", f"/1024x1024.jpg?{SUNSET}"),
    # One generation: the signature is that of the first.
    case("png shares its generation", f"/1024x1024.png?{SUNSET}"),
    case("webp shares its generation", f"/1024x1024.webp?{SUNSET}"),
    case("jpeg is jpg", f"/1024x1024.jpeg?{SUNSET}"),
    case("plus is a space", "/1024x1024.jpg?text=A+beautiful+sunset+over+the+sea"),
    case("spaces that are not encoded", "/1024x1024.jpg?text=A beautiful sunset over the sea"),
    case(
        "white space is folded", "/1024x1024.jpg?text=%20A%09beautiful%0D%0Asunset%E3%80%80over%C2%A0the%E2%80%A8sea+"
    ),
    case("prompt is text", f"/1024x1024.jpg?{SUNSET.replace('text', 'prompt')}"),
    case("text and prompt that agree", "/1024x1024.jpg?prompt=A++beautiful+sunset+over+the+sea&" + SUNSET),
    case("the default model by name", f"/1024x1024.jpg?{SUNSET}&model=fal-ai/flux/schnell"),
    case("the default model, encoded", f"/1024x1024.jpg?model=fal-ai%2Fflux%2Fschnell&{SUNSET}"),
    case("empty model and seed", f"/1024x1024.jpg?{SUNSET}&model=&seed"),
    case("unknown parameters", f"/1024x1024.jpg?utm_source=a%20b&{SUNSET}&TEXT=x&w=64&%FF=%FF&q=40"),
    case("a whole address", f"https://me@pictures.example.com:8443/1024x1024.jpg?{SUNSET}#top?x"),
    case("an encoded path", f"/1024x1024%2Ejpg?{SUNSET}"),
    case("encoded names", f"/1024x1024.jpg?{SUNSET.replace('text', 't%65xt')}&&"),
    case("a signature is replaced", f"/1024x1024.jpg?kid=x&{SUNSET}&s%69g=AAAA&exp=7&exp=8"),
    case("avif shares its generation", f"/1024x1024.avif?{SUNSET}"),
    case("auto shares its generation", f"/1024x1024.auto?{SUNSET}"),
    case("a size shares its generation", f"/1024x1024.webp?w=640&h=360&fit=contain&{SUNSET}&q=60"),
    case("a thumb shares its generation", f"/1024x1024.jpg?{SUNSET}&thumb=96"),
    case("a placeholder shares its generation", f"/1024x1024.webp?{SUNSET}&placeholder"),
    case("a placeholder by number", f"/1024x1024.png?placeholder=1&{SUNSET}"),
    case("only what is stored", f"/1024x1024.jpg?{SUNSET}&only-if-cached"),
    # Other generations.
    case("letter case counts", f"/1024x1024.jpg?{SUNSET.lower()}"),
    case("width and height", f"/1024x768.jpg?{SUNSET}"),
    case("height and width", f"/768x1024.jpg?{SUNSET}"),
    case("the smallest", "/64x64.webp?text=a"),
    case("the largest", "/2048x2048.png?text=a"),
    case("seed 0", "/64x64.webp?text=a&seed=0"),
    case("seed 7 with zeros", "/64x64.webp?text=a&seed=007"),
    case("seed of zeros", "/64x64.webp?text=a&seed=000"),
    case("the largest seed", "/64x64.webp?text=a&seed=18446744073709551615"),
    case("another model with settings", "/64x64.webp?text=a&model=fal-ai/flux/dev"),
    case("another model without settings", "/64x64.webp?text=a&model=painter"),
    case("a model named like a member of every object", "/64x64.webp?text=a&model=constructor"),
    case("another default model", "/64x64.webp?text=a", default_model="gpt-image-2.5-flare"),
    case("the usual model at another default", "/64x64.webp?text=a&model=fal-ai/flux/schnell", default_model="painter"),
    # Text.
    case("composed", "/64x64.jpg?text=caf%C3%A9"),
    case("decomposed", "/64x64.jpg?text=cafe%CC%81"),
    case("two marks in another order", "/64x64.jpg?text=q%CC%A3%CC%87%20q%CC%87%CC%A3"),
    case("compatibility characters stay", "/64x64.jpg?text=%EF%AC%81%20%E2%91%A0%20%EF%BC%A1"),
    case("Hangul from its letters", "/64x64.jpg?text=%E1%84%92%E1%85%A1%E1%86%AB%E1%84%80%E1%85%B3%E1%86%AF"),
    case("a letter beside Hangul that is no final", "/64x64.jpg?text=%EA%B0%80%E1%86%A7"),
    case("raw UTF-8", "/64x64.jpg?text=ein Fuchs im Schnee, äöü, 雪の中の狐"),
    case("emoji with joiners", "/64x64.jpg?text=%F0%9F%91%A9%F0%9F%8F%BD%E2%80%8D%F0%9F%9A%80%EF%B8%8F"),
    case("zero width is no white space", "/64x64.jpg?text=%E2%80%8Ba%EF%BB%BFb%E2%81%A0"),
    case("a byte order mark is a character", "/64x64.jpg?text=%EF%BB%BFa"),
    case("line separators inside", "/64x64.jpg?text=a%E2%80%A8b%E2%80%A9c%C2%85d"),
    case("right to left", "/64x64.jpg?text=%D7%A9%D7%95%D7%A2%D7%9C%20%D8%AB%D8%B9%D9%84%D8%A8"),
    case("what JSON escapes", "/64x64.jpg?text=%22%5C%2F%3C%3E%26%27"),
    case("what a query means", "/64x64.jpg?text=%26%3D%2B%25%23%3F%3B&seed=3"),
    case("equals inside", "/64x64.jpg?text=a=b=c;d"),
    case("percent signs for themselves", "/64x64.jpg?text=100%&model=%zz%4"),
    case("twice encoded", "/64x64.jpg?text=%2520%252B"),
    case("a question mark inside", "/64x64.jpg?text=why?&seed=1"),
    case("1,000 characters", "/64x64.jpg?text=" + "%F0%9F%A6%8A" * 1_000),
    case("1,000 characters once composed", "/64x64.jpg?text=" + "e%CC%81" * 1_000),
    case("new letters of Unicode 13", "/64x64.jpg?text=%F0%9F%A6%A3%F0%90%BA%80"),
    # Expiry and keys.
    case("a millisecond after the hour", "/64x64.jpg?text=a", expires_at="2026-11-30T12:00:00.001Z"),
    case("a millisecond before the hour", "/64x64.jpg?text=a", expires_at="2026-11-30T11:59:59.999Z"),
    case("the next hour", "/64x64.jpg?text=a", expires_at="2026-11-30T13:00:00.000Z"),
    case("the first hour there is", "/64x64.jpg?text=a", expires_at="1970-01-01T00:00:00.001Z"),
    case("over the end of a year", "/64x64.jpg?text=a", expires_at="2026-12-31T23:30:00.000Z"),
    case("beyond 32 bits", "/64x64.jpg?text=a", expires_at="2106-02-07T06:28:16.000Z"),
    case("far away", "/64x64.jpg?text=a", expires_at="9999-12-30T23:59:59.000Z"),
    case("the other key", f"/1024x1024.jpg?{SUNSET}", key_id="old"),
    case("the other key, another picture", "/64x64.jpg?text=a", key_id="old"),
)
REFUSED: Final = {
    "no picture": "/api/cache/stats",
    "no path": "?text=a",
    "below a folder": "/v1/64x64.jpg?text=a",
    "too small": "/63x64.jpg?text=a",
    "too large": "/64x2049.jpg?text=a",
    "a leading zero": "/064x64.jpg?text=a",
    "digits of another script": "/٦٤x64.jpg?text=a",
    "another format": "/64x64.gif?text=a",
    "upper case": "/64x64.JPG?text=a",
    "a line break after the path": "/64x64.jpg%0A?text=a",
    "no text": "/64x64.jpg",
    "empty text": "/64x64.jpg?text=",
    "white space alone": "/64x64.jpg?text=%20%E3%80%80",
    "a name in upper case": "/64x64.jpg?TEXT=a",
    "text twice": "/64x64.jpg?text=a&t%65xt=a",
    "seed twice": "/64x64.jpg?text=a&seed=1&seed=1",
    "text and prompt that differ": "/64x64.jpg?text=a&prompt=b",
    "text beside an empty prompt": "/64x64.jpg?text=a&prompt=",
    "a control character": "/64x64.jpg?text=a%07",
    "a control character above ASCII": "/64x64.jpg?text=a%C2%80",
    "U+0000": "/64x64.jpg?text=a%00",
    "no UTF-8": "/64x64.jpg?text=%FF",
    "an overlong slash": "/64x64.jpg?text=%C0%AF",
    "half a character": "/64x64.jpg?text=%ED%A0%80",
    "half a character, raw": "/64x64.jpg?text=\ud800",
    "1,001 characters": "/64x64.jpg?text=" + "a" * 1_001,
    "a negative seed": "/64x64.jpg?text=a&seed=-1",
    "a seed too large": "/64x64.jpg?text=a&seed=18446744073709551616",
    "a seed in other digits": "/64x64.jpg?text=a&seed=%D9%A3",
    "a seed with a space": "/64x64.jpg?text=a&seed=1+",
    "a model with a space": "/64x64.jpg?text=a&model=a%20b",
    "a model not in ASCII": "/64x64.jpg?text=a&model=%C3%A9",
    "a width of 0": "/64x64.jpg?text=a&w=0",
    "a width with a zero before it": "/64x64.jpg?text=a&w=0640",
    "a width twice": "/64x64.jpg?text=a&w=64&%77=64",
    "a height alone": "/64x64.jpg?text=a&h=64",
    "a quality above 100": "/64x64.jpg?text=a&q=101",
    "a thumb beside a width": "/64x64.jpg?text=a&w=64&thumb=64",
    "another fit": "/64x64.jpg?text=a&w=64&h=64&fit=fill",
    "a placeholder with another value": "/64x64.jpg?text=a&placeholder=yes",
    "a placeholder twice": "/64x64.jpg?text=a&placeholder&placeholder",
    "only what is stored, twice": "/64x64.jpg?text=a&only-if-cached&only-if-cached=1",
    "a placeholder of a size": "/64x64.jpg?text=a&w=32&placeholder=1",
    "too many parameters": "/64x64.jpg?text=a" + "&u" * 97,
    "too many bytes": "/64x64.jpg?text=a&u=" + "u" * 16_320,
}


def settings_of(model: str) -> list[str]:
    """The fixed parameters of a model at the deployments of the vectors."""
    return MODELS.get(model, [])


def vector(given: dict[str, str]) -> dict[str, Any]:
    """A case and its signature."""
    key = SigningKeys.of(KEYS.items()).signing_key(given["key_id"])
    signed = sign_url(
        given["url"],
        key=key,
        expires_at=datetime.fromisoformat(given["expires_at"]),
        default_model=given["default_model"],
        model_parameters=settings_of,
    )
    signature = parse_picture_query(split_url(signed.url)[1].encode()).signature
    assert signature is not None
    return {
        **given,
        "parts": _parts(signed.url, given["default_model"]),
        "generation_key": signed.picture_request.generation_key,
        "exp": signature.expires,
        "sig": signature.signature,
        "signed_url": signed.url,
    }


def _parts(url: str, default_model: str) -> dict[str, Any]:
    path, query = split_url(url)
    path = path.replace("%2E", ".")
    size = parse_picture_path(in_format(path))
    assert size is not None
    asked = parse_picture_query(query.encode())
    model = asked.model or default_model
    return {
        "prompt": asked.text,
        "width": size[0],
        "height": size[1],
        "format": "auto" if path.endswith(AUTO) else size[2].value,
        "model": asked.model or (None if default_model == DEFAULT_MODEL else default_model),
        "seed": asked.seed,
        "settings": None if model == DEFAULT_MODEL else settings_of(model),
    }


def document() -> str:
    """The file."""
    refused = [{"name": name, "url": url} for name, url in REFUSED.items()]
    signed = [vector(given) for given in CASES]
    return (
        json.dumps({"about": ABOUT, "keys": KEYS, "models": MODELS, "signed": signed, "refused": refused}, indent=1)
        + "\n"
    )


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")

"""Twelve thousand mutations of signed URLs, read as the server reads them: none is worth more than what was signed.

A URL is accepted where its signature is valid for the generation that it asks for. Of the same worth by design, since
the signature is that of the generation: parameters in another order, percent-encoded another way or beside unknown
ones, the other formats, other spellings of the text, the default model by its name. Everything else is refused.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import pytest

from copperplate.access.signatures import SigningKey, SigningKeys, Verdict, sign_url, verify
from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.painter import Painter
from copperplate.errors import InvalidRequest
from copperplate.http.picture_urls import PictureUrls
from copperplate.recipes.models import model_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

MUTATIONS: Final = 12_000
NOW: Final = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
KEYS: Final = SigningKeys((SigningKey(key_id="new", secret="n" * 32), SigningKey(key_id="old", secret="o" * 32)))
PAINTER: Final = Painter(FakeClock())
URLS: Final = PictureUrls(PAINTER)
TEXTS: Final = ("a red fox", "ein Fuchs im Schnee", "雪の中の狐", "a fox & a hen = friends", "👩🏽‍🚀", "fox " * 60)
FORMATS: Final = ("jpg", "jpeg", "png", "webp")


def signed(rng: random.Random) -> str:
    """Path and query of a picture, signed."""
    width, height = rng.choice((64, 512, 1_024)), rng.choice((64, 768, 2_048))
    others = rng.choice(("", "&seed=7", "&utm_source=mail", "&seed=0&model=copperplate/painter-1"))
    url = f"/{width}x{height}.{rng.choice(FORMATS)}?text={quote(rng.choice(TEXTS))}{others}"
    key = KEYS.signing_key(rng.choice(("new", "old")))
    return sign_url(
        url,
        key=key,
        expires_at=NOW + timedelta(hours=rng.randint(1, 900)),
        default_model=PAINTER.models[0],
        model_parameters=lambda model: model_parameters(PAINTER, model),
    ).url


def worth(url: str) -> tuple[str, str, str] | None:
    """The generation that a URL may cause, by which key and until when; None where it may cause none."""
    path, _, query = url.partition("?")
    try:
        requested = URLS.read(path, query.encode(errors="surrogatepass"))
    except InvalidRequest:
        return None
    if requested is None or requested.signature is None:
        return None
    key = requested.picture_request.generation_key
    judged = verify(requested.signature, key, keys=KEYS, now=NOW)
    if judged.verdict is not Verdict.VALID:
        return None
    return key, str(judged.key_id), requested.signature.expires


def generation(url: str) -> str:
    """The key of a URL that is a picture's."""
    path, _, query = url.partition("?")
    requested = URLS.read(path, query.encode())
    assert requested is not None
    return requested.picture_request.generation_key


def parameters(url: str) -> tuple[str, list[str]]:
    path, _, query = url.partition("?")
    return path, query.split("&")


def value(url: str, name: str) -> str:
    return next(part.partition("=")[2] for part in parameters(url)[1] if part.startswith(f"{name}="))


def with_value(url: str, name: str, new: str) -> str:
    path, parts = parameters(url)
    return path + "?" + "&".join(f"{name}={new}" if part.startswith(f"{name}=") else part for part in parts)


# --- mutations that must cost the signature ------------------------------------------------------


def flip_a_bit_of_the_signature(rng: random.Random, url: str) -> str:
    sig = value(url, "sig").encode()
    at = rng.randrange(len(sig))
    flipped = bytes([*sig[:at], sig[at] ^ 1 << rng.randrange(8), *sig[at + 1 :]])
    return with_value(url, "sig", quote(flipped, safe="=&#+"))


def flip_a_bit_anywhere(rng: random.Random, url: str) -> str:
    at = rng.randrange(len(url))
    return url[:at] + chr(ord(url[at]) ^ 1 << rng.randrange(7)) + url[at + 1 :]


def cut_the_url(rng: random.Random, url: str) -> str:
    return url[: rng.randrange(len(url))]


def cut_a_value(rng: random.Random, url: str) -> str:
    name = rng.choice(("sig", "exp", "kid"))
    old = value(url, name)
    return with_value(
        url, name, old[: rng.randrange(len(old))] if rng.random() < 0.5 else old[rng.randint(1, len(old)) :]
    )


def append_to_a_value(rng: random.Random, url: str) -> str:
    name = rng.choice(("sig", "exp", "kid"))
    return with_value(
        url, name, value(url, name) + rng.choice(("A", "=", "==", "%00", "%0A", "+", "0", "%20", "%3D", "é"))
    )


def prepend_to_a_value(rng: random.Random, url: str) -> str:
    name = rng.choice(("sig", "exp", "kid"))
    return with_value(url, name, rng.choice(("0", "+", "%2B", "-", "%00", "%EF%BB%BF", "A", "%09")) + value(url, name))


def change_case(rng: random.Random, url: str) -> str:
    name = rng.choice(("sig", "kid"))
    old = value(url, name)
    return with_value(
        url, name, rng.choice((old.upper(), old.lower() if name == "sig" else old.title(), old.swapcase()))
    )


def spell_base64_otherwise(rng: random.Random, url: str) -> str:
    sig = value(url, "sig")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = sig[:-1] + alphabet[alphabet.index(sig[-1]) ^ rng.randint(1, 3)]  # decodes to the same bytes
    padded, plain = sig + "=", sig.replace("-", "%2B").replace("_", "%2F")
    return with_value(url, "sig", rng.choice((spare, padded, plain if plain != sig else padded, sig + "%3D")))


def spell_digits_otherwise(rng: random.Random, url: str) -> str:
    exp = value(url, "exp")
    zero = rng.choice((0x660, 0x6F0, 0x966, 0xFF10, 0x1D7CE))
    foreign = "".join(chr(zero + int(digit)) for digit in exp)
    one = exp.replace(exp[-1], chr(zero + int(exp[-1])))
    return with_value(
        url, "exp", rng.choice((foreign, quote(foreign), one, f"{int(exp):_}", hex(int(exp)), f"{exp}.0"))
    )


def move_the_expiry(rng: random.Random, url: str) -> str:
    steps = rng.choice((1, -1, 24, 8_760, 1 / 3_600, 0.5))
    return with_value(url, "exp", str(int(value(url, "exp")) + int(steps * 3_600)))


def name_another_key(rng: random.Random, url: str) -> str:
    other = "old" if value(url, "kid") == "new" else "new"
    return with_value(url, "kid", rng.choice((other, "", "none", "new,old", "..", "*", "0")))


def drop_a_part(rng: random.Random, url: str) -> str:
    path, parts = parameters(url)
    name = rng.choice(("sig", "exp", "kid"))
    return path + "?" + "&".join(part for part in parts if not part.startswith(name))


def give_a_part_twice(rng: random.Random, url: str) -> str:
    other = signed(rng)
    name = rng.choice(("sig", "exp", "kid", "text"))
    spelled = rng.choice((name, f"{name[0]}%{ord(name[1]):02x}{name[2:]}"))
    path, parts = parameters(url)
    parts.insert(rng.randrange(len(parts) + 1), f"{spelled}={value(rng.choice((url, other)), name)}")
    return path + "?" + "&".join(parts)


def rename_a_part(rng: random.Random, url: str) -> str:
    name = rng.choice(("sig", "exp", "kid"))
    new = rng.choice((name.upper(), f"{name}[]", f"+{name}", f"{name}%00", f"{name}%20", f"amp;{name}", name.title()))
    return url.replace(f"&{name}=", f"&{new}=")


def replay_on_another_picture(rng: random.Random, url: str) -> str:
    other = url
    while generation(other) == generation(url):
        other = signed(rng)
    for name in ("kid", "exp", "sig"):
        other = with_value(other, name, value(url, name))
    return other


def mix_two_signatures(rng: random.Random, url: str) -> str:
    other = signed(rng)
    name = rng.choice(("kid", "exp", "sig"))
    return with_value(url, name, value(other, name))


def ask_for_another_picture(rng: random.Random, url: str) -> str:
    path, parts = parameters(url)
    ending = path.rpartition(".")[2]
    text = value(url, "text")
    return rng.choice(
        (
            f"/65x65.{ending}?" + "&".join(parts),
            with_value(url, "text", text + rng.choice(("%21", "%CC%81", "%E2%80%8B", "x"))),
            with_value(url, "text", "x" + text),
            with_value(url, "text", quote("THE FOX")),
            path
            + "?"
            + "&".join([*(part for part in parts if not part.startswith("seed")), f"seed={rng.randint(8, 99)}"]),
            with_value(url, "text", text[:-1]),
            url.replace("&model=", "&model=x") if "&model=" in url else url + "&model=fal-ai/flux/dev",
        )
    )


REFUSED: Final = (
    *(
        flip_a_bit_of_the_signature,
        flip_a_bit_anywhere,
        cut_the_url,
        cut_a_value,
        append_to_a_value,
        prepend_to_a_value,
    ),
    *(change_case, spell_base64_otherwise, spell_digits_otherwise, move_the_expiry, name_another_key, drop_a_part),
    *(give_a_part_twice, rename_a_part, replay_on_another_picture, mix_two_signatures, ask_for_another_picture),
)


# --- mutations that mean the same, by design -----------------------------------------------------


def reorder(rng: random.Random, url: str) -> str:
    path, parts = parameters(url)
    return path + "?" + "&".join(rng.sample(parts, len(parts)))


def ask_for_another_format(rng: random.Random, url: str) -> str:
    path, _, query = url.partition("?")
    return f"{path.rpartition('.')[0]}.{rng.choice(FORMATS)}?{query}"


def encode_again(rng: random.Random, url: str) -> str:
    path, parts = parameters(url)
    spelled = []
    for part in parts:
        name, _, old = part.partition("=")
        if rng.random() < 0.5 and "%" not in old:
            old = "".join(f"%{ord(letter):02{rng.choice('xX')}}" for letter in old)
        spelled.append(f"{name[0]}%{ord(name[1]):02X}{name[2:]}={old}")
    return path + "?" + "&".join(spelled)


def add_unknown_parameters(rng: random.Random, url: str) -> str:
    path, parts = parameters(url)
    parts.insert(
        rng.randrange(len(parts) + 1), rng.choice(("utm_source=x", "", "w=64", "SIG=x", "fbclid=%FF", "exp%5B%5D=1"))
    )
    return path + "?" + "&".join(parts)


def spell_the_text_otherwise(rng: random.Random, url: str) -> str:
    text = value(url, "text")
    return with_value(url, "text", rng.choice((f"+{text}", f"{text}%0A", text.replace("%20", "%20%E3%80%80") + "+")))


def name_the_default(rng: random.Random, url: str) -> str:
    if "&model=" in url:
        return url.replace("&model=copperplate/painter-1", rng.choice(("", "&model=")))
    return url + rng.choice(
        ("&model=", "&model", f"&model={PAINTER.models[0]}", f"&model={quote(PAINTER.models[0], safe='')}")
    )


BY_DESIGN: Final = (
    *(
        reorder,
        ask_for_another_format,
        encode_again,
        add_unknown_parameters,
        spell_the_text_otherwise,
        name_the_default,
    ),
)


def mutated(mutations: tuple[Callable[[random.Random, str], str], ...], count: int, seed: int) -> Counter[str]:
    """How often each mutation was accepted; every acceptance is worth exactly what was signed."""
    rng = random.Random(seed)
    urls = [signed(rng) for _ in range(200)]
    accepted: Counter[str] = Counter()
    for number in range(count):
        mutate, url = mutations[number % len(mutations)], rng.choice(urls)
        mutation = mutate(rng, url)
        if (found := worth(mutation)) is not None:
            assert found == worth(url), mutation
            accepted[mutate.__name__] += mutation != url
    return accepted


def test_no_mutation_of_a_signed_url_is_accepted() -> None:
    accepted = mutated(REFUSED, MUTATIONS, seed=45)
    # Outside the signature: unknown parameters, the default model under a wrong name, the case of percent-encoding.
    assert +accepted == +Counter(flip_a_bit_anywhere=accepted["flip_a_bit_anywhere"])
    assert accepted["flip_a_bit_anywhere"] < MUTATIONS / len(REFUSED) / 4


def test_what_means_the_same_is_accepted_by_design() -> None:
    each = 100
    accepted = mutated(BY_DESIGN, each * len(BY_DESIGN), seed=46)
    assert all(accepted[mutate.__name__] >= each // 3 for mutate in BY_DESIGN), accepted


@pytest.mark.parametrize("mutate", BY_DESIGN)
def test_every_spelling_by_design_of_every_url_is_worth_what_was_signed(
    mutate: Callable[[random.Random, str], str],
) -> None:
    rng = random.Random(47)
    for _ in range(100):
        url = signed(rng)
        assert worth(mutate(rng, url)) == worth(url) is not None, mutate(rng, url)

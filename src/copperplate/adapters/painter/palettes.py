"""Colours, and the words that steer them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.adapters.painter.chance import Chance

Colour = tuple[int, int, int]


class Palette(NamedTuple):
    """Colours of one mood: the sky from its top to the horizon, its light, the land from far to near, what grows."""

    sky: tuple[Colour, ...]
    light: Colour
    far: Colour
    near: Colour
    plant: Colour
    accents: tuple[Colour, ...]
    is_dark: bool
    is_low: bool  # its sun stands just above the horizon


def mix(one: Colour, other: Colour, percent: int) -> Colour:
    """`one` with `percent` of `other` in it."""
    red, green, blue = ((a * (100 - percent) + b * percent + 50) // 100 for a, b in zip(one, other, strict=True))
    return red, green, blue


def choose_palette(prompt: str, chance: Chance) -> Palette:
    """The palette that a word of the prompt names, else any; a little of a second one is mixed in."""
    named = _named(prompt, PALETTE_WORDS) or _named(prompt, PALETTE_HINTS)
    palette = PALETTES[named or chance.pick(sorted(PALETTES))]
    kin = [PALETTES[name] for name in sorted(PALETTES) if PALETTES[name].is_dark == palette.is_dark]
    return _blend(palette, chance.pick(kin), chance.below(16 if named else 31))


def choose_scene(prompt: str, chance: Chance) -> str:
    """The scene that a word of the prompt names, else any."""
    return _named(prompt, SCENE_WORDS) or _named(prompt, SCENE_HINTS) or chance.pick(SCENES)


def _named(prompt: str, vocabulary: Mapping[str, str]) -> str | None:
    """What the first word of the prompt that the vocabulary knows stands for."""
    for word in re.findall(r"[a-z]+", prompt.lower()):
        meaning = vocabulary.get(word) or vocabulary.get(word.removesuffix("s"))
        if meaning:
            return meaning
    return None


def _blend(one: Palette, other: Palette, percent: int) -> Palette:
    light, far, near = (mix(a, b, percent) for a, b in zip(one[1:4], other[1:4], strict=True))
    sky = tuple(mix(a, b, percent) for a, b in zip(one.sky, other.sky, strict=True))
    return one._replace(sky=sky, light=light, far=far, near=near, plant=mix(one.plant, other.plant, percent // 2))


def colours(text: str) -> tuple[Colour, ...]:
    """The colours that stand in a text, six hexadecimal digits each."""
    return tuple((int(part[:2], 16), int(part[2:4], 16), int(part[4:], 16)) for part in text.split())


def _palette(row: str) -> tuple[str, Palette]:
    name, sky, lands, accents, *rest = (part.strip() for part in row.split("|"))
    light, far, near, plant = colours(lands)
    return name, Palette(colours(sky), light, far, near, plant, colours(accents), "dark" in rest, "low" in rest)


# Sky | light, far land, near land, plants | accents | whether it is dark, or its sun low.
_PALETTES = """
aurora  | 04101f 0b2a40 155f66 62b99c | f2fbe8 1d5a63 04131a 03201f | 5ff0b0 7ad0ff | dark
autumn  | 6f8fa8 c4b8a0 f0cf94 fbe6b5 | fff4d2 d69a56 5c2a1c 8f3518 | e8622c f2b134 b8352a
candy   | 7a7fd6 c79ae0 f7b6d2 ffe3d0 | fffaf0 d79ac8 5a3f86 6b3f8f | ff7fb0 ffd166 8fe0d0
dawn    | 6b7fb8 c9a6c4 f7c9b0 fde7c3 | fff3d6 c79fb4 4a3f63 3d3a5c | f2788f ffc66d fff0f0
day     | 3f8fd0 7fbce6 bfe2f2 f4f8ea | fff8dc a4cdd4 2b6b58 1f5a3c | f25c54 ffd23f ffffff
desert  | 5aa0b8 a9cdc0 f2dcb0 f9c98a | fff5d0 e3a878 8a4030 4f6b45 | e8553a f7e0a0 3f7d5a
dusk    | 1f2453 4d4a8c a86fa5 f0a9a0 | ffe9d9 7a629c 1b1a3a 16163a | ff9a76 ffd9a0 c58cf0 | dark
ember   | 4a1526 a02c2c e8662e fbb64a | ffe6a0 b04a35 2b0f18 2a0c16 | ffd060 ff7040 f7e8c0
emerald | 0f5a5e 3a9a80 a4d8a0 f0f3c4 | fffbe0 6fb58c 0b3430 08302c | f7d046 ff8a5c fff6e0
lagoon  | 0f6f9a 2fa9bf 8bdcd2 f3f3cf | fffbe0 7fc6c4 0d4f5f 0b4a4a | ff7a5c ffd23f ffffff
mist    | 8a98a0 b3bfc0 d8ddd6 f2efe4 | fffdf2 b9c4c0 37484c 2c3f42 | d9825f f0e0c0 7fa0a0
night   | 070b24 122150 254a80 5785a8 | f6f3dc 35608c 060d20 040c1e | ffcf6f 9fd0ff f7b0d0 | dark
rose    | a8567c dc8796 f6bfae fdeccf | fff6e6 d28c94 55263f 4a1f38 | fff0f2 e84a6f ffd08a
spring  | 6fbcd8 b0ded8 e3f1d4 fdf3d0 | fff8d8 b2d9a8 3b7a4b 2f7048 | ff8fb0 ffffff ffd84f
sunset  | 3b2a63 9b3f77 ea6f5c fcc56a | fff0b3 b5587a 2a1838 24142f | ffb04f ff6f61 ffe0b0 | low
winter  | 7498c6 aac5e0 dce8f2 f9f5f0 | ffffff a3bbd8 f1f5fb 2f4f6b | e0484f ffffff f2c46d
"""
PALETTES: Final[Mapping[str, Palette]] = dict(map(_palette, _PALETTES.strip().splitlines()))

SCENES: Final = ("city", "desert", "forest", "hills", "islands", "lake", "meadow", "ocean", "peaks", "planets")

# The hour, the weather and the place, which say more about colour than what follows: who or what is in the picture.
_PALETTE_WORDS = {
    "aurora": "aurora arctic polar northern neon cyberpunk | magic wizard alien northern",
    "autumn": "autumn fall october harvest | pumpkin squirrel copper brown",
    "candy": "candy pastel dream dreamy | unicorn kawaii cake cat kitten",
    "dawn": "dawn sunrise morning |",
    "day": "day sunny noon summer bright | sky blue dog puppy bird car",
    "desert": "desert dune sand sahara | cactus camel egypt pyramid lion",
    "dusk": "dusk twilight evening | purple violet witch",
    "ember": "ember fire volcano lava flame | dragon red robot",
    "emerald": "emerald forest jungle woods rainforest | green fox wood tree frog turtle",
    "lagoon": "lagoon ocean sea beach island tropical underwater | turquoise fish dolphin whale boat",
    "mist": "mist misty fog foggy rain rainy storm | cloud grey gray castle",
    "night": "night midnight moon starry space galaxy | star dark owl wolf astronaut planet",
    "rose": "rose sakura blossom romantic | love heart pink cherry",
    "spring": "spring flower meadow garden | bee butterfly tulip daisy rabbit bunny",
    "sunset": "sunset sundown | orange golden gold horse",
    "winter": "winter snow snowy ice icy frozen christmas | penguin bear white",
}
# Places and what stands there, then those who live there if nothing says where they are.
_SCENE_WORDS = {
    "city": "city town skyline street tokyo york london building skyscraper urban cyberpunk robot car |",
    "desert": "desert dune sand sahara cactus camel egypt pyramid |",
    "forest": "forest wood woods jungle tree pine deer owl | fox wolf bear",
    "hills": "hill countryside farm field valley vineyard horse sheep cow | cat kitten",
    "islands": "island archipelago tropical palm pirate |",
    "lake": "lake pond river reflection canoe swan duck fjord |",
    "meadow": "meadow flower garden spring bee butterfly tulip daisy poppy rose | dog puppy rabbit bunny bird",
    "ocean": "ocean sea beach wave ship boat sail whale dolphin | fish sunset sundown",
    "peaks": "mountain peak alps alpine summit everest dragon castle eagle volcano |",
    "planets": "space planet galaxy cosmos universe astronaut alien rocket mars saturn |",
}


def _by_word(vocabulary: Mapping[str, str], part: int) -> Mapping[str, str]:
    return {word: name for name, words in vocabulary.items() for word in words.split("|")[part].split()}


PALETTE_WORDS, PALETTE_HINTS = _by_word(_PALETTE_WORDS, 0), _by_word(_PALETTE_WORDS, 1)
SCENE_WORDS, SCENE_HINTS = _by_word(_SCENE_WORDS, 0), _by_word(_SCENE_WORDS, 1)

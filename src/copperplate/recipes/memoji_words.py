"""The words a memoji is asked for with, and what each tells whoever draws it.

Closed lists on purpose: equal configurations have equal words, no free text reaches a provider, and the painter can
draw every one. A changed text makes other pictures of the same configuration: raise `TEMPLATE` with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.model import CanonicalValue

# In every recipe, so that a new wording never answers with pictures of the old one.
TEMPLATE: Final = 1

FAMILY_TYPES: Final[Mapping[str, str]] = {
    "father": "a warm, confident father in his forties with a friendly smile",
    "mother": "a warm, caring mother in her forties with a bright smile",
    "son": "a cheerful boy of about ten with a wide, curious grin",
    "daughter": "a cheerful girl of about ten with a wide, curious grin",
    "brother": "an easy-going young man of about twenty with a playful smile",
    "sister": "an easy-going young woman of about twenty with a playful smile",
    "grandfather": "a kind grandfather in his seventies with laughter lines and soft eyes",
    "grandmother": "a kind grandmother in her seventies with laughter lines and soft eyes",
    "uncle": "a good-humoured uncle in his fifties with a mischievous smile",
    "aunt": "a good-humoured aunt in her fifties with a mischievous smile",
    "baby": "a happy baby with round cheeks, big eyes and a toothless smile",
    "person": "a friendly adult with a relaxed, open smile",
}
GESTURES: Final[Mapping[str, str]] = {
    "wave": "waving with one open hand raised beside the face",
    "thumbs-up": "giving a thumbs-up with one hand beside the face",
    "peace": "making a peace sign with two fingers beside the face",
    "heart": "forming a heart with both hands in front of the chest",
    "clap": "clapping with both hands in front of the chest",
    "point": "pointing towards the viewer with one finger",
    "ok": "making the OK sign with one hand beside the face",
    "fist-bump": "holding out one fist for a fist bump",
    "flex": "flexing one arm proudly",
    "think": "resting the chin on one hand, thinking",
    "none": "with no hands in the picture",
}
HAIR: Final[Mapping[str, str]] = {
    "short": "short, neatly cut hair",
    "long": "long, straight hair falling over the shoulders",
    "curly": "voluminous, curly hair",
    "wavy": "shoulder-length, wavy hair",
    "bob": "a chin-length bob",
    "pixie": "a short pixie cut",
    "ponytail": "hair tied in a high ponytail",
    "bun": "hair tied in a bun on top",
    "braids": "two braids",
    "afro": "a round afro",
    "locs": "shoulder-length locs",
    "spiky": "short, spiky hair",
    "buzz": "a close buzz cut",
    "bald": "a bald, smooth head",
}
SKIN_TONES: Final[Mapping[str, str]] = {
    "light": "light skin (Fitzpatrick type 1 to 2)",
    "medium-light": "medium-light skin (Fitzpatrick type 3)",
    "medium": "medium skin (Fitzpatrick type 4)",
    "medium-dark": "medium-dark skin (Fitzpatrick type 5)",
    "dark": "dark skin (Fitzpatrick type 6)",
}
ACCESSORIES: Final[Mapping[str, str]] = {
    "glasses": "round eyeglasses with a thin frame",
    "sunglasses": "dark sunglasses",
    "hat": "a felt hat with a brim",
    "cap": "a baseball cap",
    "beanie": "a knitted beanie",
    "crown": "a small golden crown",
    "headband": "a wide headband",
    "headphones": "over-ear headphones",
    "earrings": "small round earrings",
    "necklace": "a simple necklace",
    "scarf": "a soft scarf",
    "bow-tie": "a bow tie",
    "flower": "a flower tucked behind one ear",
    "freckles": "light freckles across nose and cheeks",
    "moustache": "a tidy moustache",
    "beard": "a full, well-kept beard",
}
COLOR_THEMES: Final[Mapping[str, str]] = {
    "pastel-blue": "pastel blue with touches of white",
    "pastel-pink": "pastel pink with touches of cream",
    "pastel-green": "pastel green with touches of white",
    "pastel-yellow": "pastel yellow with touches of warm white",
    "pastel-purple": "pastel purple with touches of silver",
    "pastel-peach": "pastel peach with touches of cream",
    "mint": "fresh mint with touches of teal",
    "coral": "coral with touches of sand",
    "ocean": "deep ocean blue with touches of turquoise",
    "forest": "forest green with touches of gold",
    "sunset": "orange and magenta, as at sunset",
    "midnight": "midnight blue with touches of violet",
    "monochrome": "black, white and soft greys",
}
BACKGROUNDS: Final[Mapping[str, str]] = {
    "auto": "a plain, softly lit background in the colours of the theme",
    "opaque": "a plain, evenly filled background in the colours of the theme",
    "transparent": "a fully transparent background, nothing behind the character, clean edges",
}


# The closed list of every field that takes one word.
WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "familyType": FAMILY_TYPES,
    "gesture": GESTURES,
    "hair": HAIR,
    "skinTone": SKIN_TONES,
    "colorTheme": COLOR_THEMES,
    "background": BACKGROUNDS,
}


def describe(recipe: Mapping[str, CanonicalValue]) -> str:
    """The prompt for a canonical memoji recipe, in the wording of `TEMPLATE`. Raises `KeyError` for an unknown word."""
    accessories = recipe["accessories"]
    assert isinstance(accessories, list)  # noqa: S101 - it is canonical
    worn = [ACCESSORIES[name] for name in accessories]
    wearing = f" Wearing or showing: {', '.join(worn)}." if worn else " No accessories."

    words_of = {field: words[str(recipe[field])] for field, words in WORDS.items()}

    return (
        "A single 3D memoji-style character, head and shoulders, centred, facing the viewer, "
        f"rendered as a smooth, glossy toy with soft studio light: {words_of['familyType']}, "
        f"with {words_of['skinTone']} and {words_of['hair']}, {words_of['gesture']}.{wearing} "
        f"Clothing and accents in {words_of['colorTheme']}. Background: {words_of['background']}. "
        "Big expressive eyes, clean rounded shapes, gentle shadows, high detail. "
        "Exactly one character, fully inside the frame. No text, letters, logos, borders or watermarks."
    )

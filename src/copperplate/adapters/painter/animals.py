"""Animals, built of shared parts: whom the prompt names, sitting in front of the landscape.

Places are thousandths of the picture's shorter side, from the middle of the feet.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from copperplate.adapters.painter import land
from copperplate.adapters.painter.brushes import ellipse
from copperplate.adapters.painter.figure import WHITE, Figure, Marks, both, curve, flipped, line, outline, oval, ovals
from copperplate.adapters.painter.palettes import colours

if TYPE_CHECKING:
    from copperplate.adapters.painter.sky import Stage


class Animal(NamedTuple):
    """Its coat, belly and paws, and how it is drawn; a swimmer leaps out of the water."""

    paints: str
    marks: Marks
    swims: bool = False


_BODY: Final = (
    *both(oval(86, -62, 62, 60, "coat dark 12"), oval(96, -14, 42, 19, "paw")),
    curve([(-60, -280), (60, -280), (100, -130), (84, -20), (-84, -20), (-100, -130)], "coat > coat dark 12"),
    curve([(-56, -280), (56, -280), (50, -180), (0, -124), (-50, -180)], "belly"),
    *both(line([(36, -120), (36, -24)], 54, "coat light 4"), oval(38, -15, 36, 19, "paw")),
)
_EYES: Final = (*both(oval(56, -338, 14, 18, "ink")), *ovals([(-52, -344), (60, -344)], 5, 5, "light"))
_TIP: Final = [(196, -320), (196, -320)]
_CHEEK: Final = [(118, -302), (164, -282), (164, -282), (70, -244)]
_BROW: Final = [(76, -416), (128, -350), *_CHEEK[1:]]
_FOX: Final[Marks] = (
    curve(
        [(60, -30), (150, -12), (236, -50), (272, -150), (250, -250), *_TIP, (176, -230), (110, -90)],
        "coat > coat dark 10",
    ),
    curve([(256, -238), *_TIP, (178, -240), (206, -222), (228, -244)], "belly"),
    *_BODY,
    *both(
        outline([(30, -400), (112, -530), (138, -350)], "coat dark 10"),
        outline([(62, -410), (108, -492), (122, -380)], "ink"),
    ),
    curve([(0, -430), *_BROW, (0, -206), *((-x, y) for x, y in reversed(_BROW))], "coat light 6 > coat"),
    *both(curve([(0, -262), (52, -306), *_CHEEK, (0, -206)], "belly")),
    *_EYES,
    oval(0, -226, 22, 17, "ink"),
)
_SMILE: Final = both(line([(0, -290), (0, -274), (18, -260), (38, -268)], 8, "ink"))
_CAT_HEAD: Final = (
    oval(0, -322, 134, 110, "coat light 6 > coat"),
    *both(oval(34, -274, 44, 34, "belly")),
    *_EYES,
    *_SMILE,
    oval(0, -298, 18, 13, "ink"),
)
_DOG_HEAD: Final = (
    oval(0, -322, 124, 114, "coat light 6 > coat"),
    oval(0, -272, 66, 56, "belly"),
    *_EYES,
    *_SMILE,
    oval(0, -300, 28, 20, "ink"),
)
_CAT: Final = (
    line(
        [(80, -30), (150, -26), (196, -44), (218, -84), (216, -130), (214, -170), (228, -206), (254, -222)],
        38,
        "coat dark 10",
    ),
    *_BODY,
    *both(
        outline([(20, -400), (104, -480), (132, -330)], "coat dark 10"),
        outline([(54, -404), (100, -450), (114, -360)], "f0a0a8"),
    ),
    *_CAT_HEAD,
    *both(line([(70, -284), (170, -300)], 5, "light"), line([(70, -272), (168, -262)], 5, "light")),
)
_DOG: Final = (
    line([(70, -40), (150, -66), (192, -110), (214, -170)], 40, "coat dark 10"),
    *_BODY,
    *_DOG_HEAD,
    oval(0, -240, 17, 24, "f07a80"),
    *both(curve([(70, -420), (140, -400), (168, -300), (140, -236), (104, -290)], "coat dark 30")),
)
_BEAR: Final = (
    *_BODY,
    *both(oval(96, -414, 44, 44, "coat dark 10"), oval(96, -410, 24, 24, "belly")),
    *_DOG_HEAD,
)
_RABBIT: Final = (
    oval(134, -64, 48, 46, "belly"),
    *_BODY,
    *both(oval(60, -500, 36, 130, "coat dark 6"), oval(60, -500, 18, 100, "f0b0b4")),
    *_CAT_HEAD,
)
_BIRD: Final = (
    *(line([(x, -80), (x, -10), (x + 34, -4)], 13, "paw") for x in (0, 50)),
    outline([(150, -262), (230, -232), (150, -206)], "paw"),
    curve(
        [(60, -330), (150, -290), (160, -190), (110, -90), (0, -50), (-100, -90), (-280, -100), (-280, -100),
         (-290, -150), (-290, -150), (-120, -190), (-20, -260)], "coat light 8 > coat"
    ),
    curve([(146, -210), (110, -90), (0, -50), (20, -120), (90, -190)], "belly"),
    curve([(30, -210), (50, -140), (-30, -100), (-190, -130), (-190, -130), (-70, -190)], "coat dark 24"),
    oval(104, -262, 16, 17, "ink"),
    oval(109, -268, 5, 5, "light"),
)  # fmt: skip
_FISH: Final = (
    curve([(-120, -150), (-250, -170), (-190, -100), (-200, 20), (-80, -90)], "coat dark 16"),
    curve([(20, -300), (-30, -390), (90, -350), (110, -300)], "coat dark 16"),
    curve(
        [(190, -300), (120, -345), (0, -320), (-90, -230), (-150, -120), (-110, -90), (40, -150), (150, -230)],
        "coat light 10 > belly",
    ),
    oval(124, -286, 17, 18, "light"),
    oval(128, -286, 10, 11, "ink"),
    curve([(40, -230), (70, -180), (10, -150), (10, -200)], "coat dark 16"),
    oval(-200, 16, 110, 18, "light"),
    *ovals([(-250, -50), (-150, -40), (-100, -4), (-284, -14)], 14, 16, "light"),
)
_ANIMALS: Final = {
    "fox vixen": Animal("e2702a fff4e6 3a2420", _FOX),
    "wolf wolves": Animal("7c8694 e6e8ea 5c6470", _FOX),
    "cat kitten": Animal("8a8d98 f4f2f0 f4f2f0", _CAT),
    "dog puppy puppies": Animal("b4783c f6e6cc f6e6cc", _DOG),
    "bear": Animal("6e4a34 c89a70 4a3226", _BEAR),
    "rabbit bunny bunnies": Animal("c8b4a0 fff8f0 fff8f0", _RABBIT),
    "bird": Animal("3a7cc8 f6d8a8 e09030", _BIRD),
    "fish goldfish": Animal("f08a3c ffe6c0 f6b060", _FISH, swims=True),
}
ANIMALS: Final = {word: animal for words, animal in _ANIMALS.items() for word in words.split()}
COATS: Final = {
    "red": "d2381e", "orange": "f07c22", "brown": "7c4c2c", "golden": "e8ac3c", "yellow": "f4d03c", "green": "4e9c4c",
    "blue": "3a7cc8", "purple": "8a58b8", "pink": "f090b0", "black": "34323c", "white": "f6f4f0", "polar": "f6f4f0",
    "grey": "8e929c", "gray": "8e929c",
}  # fmt: skip
_NAMED: Final = re.compile(
    rf"\b(?:({'|'.join(COATS)})\W{{1,3}}(?:\w+\W{{1,3}})?)?({'|'.join(ANIMALS)})(?:e?s)?\b", re.IGNORECASE
)


def find_animal(prompt: str) -> tuple[Animal | None, str]:
    """The first animal of a prompt, in the colour it is said to have, and the prompt without that colour."""
    named = _NAMED.search(prompt)
    if named is None:
        return None, prompt
    animal, coat = ANIMALS[named[2].lower()], named[1]
    if coat is None:
        return animal, prompt
    start, end = named.span(1)
    return animal._replace(paints=COATS[coat.lower()] + animal.paints[6:]), prompt[:start] + prompt[end:]


def paint_animal(stage: Stage, animal: Animal) -> None:
    """The animal in front of everything else, on a rise of its own or out of the water, facing either way."""
    canvas, chance = stage.canvas, stage.chance
    coat, belly, paw = colours(animal.paints)
    figure = Figure(
        canvas=canvas,
        origin=(canvas.width * chance.between(36, 64) // 100, canvas.height * 9 // 10),
        scale=chance.between(900, 1050),
        paints={"coat": coat, "belly": belly, "paw": paw, "light": WHITE, "dark": (0, 0, 0), "ink": (40, 28, 30)},
    )
    if not animal.swims:
        edge = land.ridge_line(stage, canvas.height * 22 // 25, canvas.unit // 16, reach=canvas.unit, is_smooth=True)
        land.slope(stage, edge, 80, rim=30)
        shadow = ellipse(figure.at(0, 0), figure.long(200), figure.long(26), 0)
        canvas.wash([shadow], stage.palette.plant, opacity=110, soft_px=1)
    # Whatever is behind, the coat stands out from the air around it.
    air = stage.palette.plant if sum(coat) > 480 else stage.palette.light
    canvas.glow(figure.at(0, -240), figure.long(360), air, opacity=150)
    figure.draw(flipped(animal.marks) if chance.happens(50) else animal.marks)

"""Clothes, and whatever else is worn, in an order in which nothing hides what matters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.adapters.painter.figure import Marks, both, line, outline, oval, ovals

if TYPE_CHECKING:
    from collections.abc import Mapping

GOLD, GLASS, INK = "ecbe46", "282c38", "2e282c"
_CIRCLE: Final = [
    (68, 0), (63, 26), (48, 48), (26, 63), (0, 68), (-26, 63), (-48, 48), (-63, 26), (-68, 0), (-63, -26), (-48, -48),
    (-26, -63), (0, -68), (26, -63), (48, -48), (63, -26), (68, 0),
]  # fmt: skip
_BAND: Final = [
    (-250, -20), (-254, -140), (-190, -256), (-80, -312), (0, -320), (80, -312), (190, -256), (254, -140), (250, -20),
]  # fmt: skip
_BROW: Final = [(-232, -112), (-150, -176), (0, -206), (150, -176), (232, -112)]
_BEARD: Final = [
    (-232, 20), (-222, 130), (-160, 240), (-60, 290), (60, 290), (160, 240), (222, 130), (232, 20),
    (196, 60), (150, 112), (80, 104), (0, 110), (-80, 104), (-150, 112), (-196, 60),
]  # fmt: skip

CLOTHES: Final[Marks] = (
    oval(0, 560, 380, 250, "cloth light 14 > cloth dark 14"),
    oval(0, 300, 92, 110, "skin 6e281e 20"),
    oval(0, 352, 120, 60, "accent"),
    oval(0, 336, 96, 50, "skin 6e281e 12"),
)
AT_THE_NECK: Final[Mapping[str, Marks]] = {
    "necklace": (
        line([(-96, 330), (-60, 384), (0, 404), (60, 384), (96, 330)], 9, GOLD),
        oval(0, 414, 20, 22, "accent"),
    ),
    "scarf": (
        oval(0, 318, 168, 70, "cloth dark 30"),
        oval(0, 296, 150, 50, "cloth dark 30 light 16"),
        outline([(50, 330), (140, 330), (150, 540), (60, 540)], "cloth dark 30"),
        line([(60, 500), (144, 500)], 10, "accent"),
    ),
    "bow-tie": (
        *both(outline([(0, 384), (92, 340), (92, 430)], "cloth dark 42")),
        oval(0, 384, 24, 24, "cloth dark 55"),
    ),
}
UNDER_THE_MOUTH: Final[Mapping[str, Marks]] = {
    "freckles": ovals(
        [(-128, 66), (-104, 76), (-80, 64), (80, 64), (104, 76), (128, 66), (-20, 54), (20, 54)], 7, 7, "skin 783c14 55"
    ),
    "beard": (outline(_BEARD, "hair dark 6"),),
}
OVER_THE_MOUTH: Final[Mapping[str, Marks]] = {"moustache": both(oval(42, 122, 52, 20, "hair dark 12", tilt=24))}
ON_THE_HEAD: Final[Mapping[str, Marks]] = {
    "headband": (line(_BROW, 46, "accent"), line(_BROW, 12, "cloth")),
    "glasses": (
        *(line([(x + dx, 10 + dy) for dx, dy in _CIRCLE], 11, INK) for x in (-92, 92)),
        *both(line([(162, 0), (226, -14)], 11, INK)),
        line([(-24, 0), (0, -8), (24, 0)], 11, INK),
    ),
    "sunglasses": (
        *both(oval(94, 14, 82, 66, GLASS)),
        *(oval(x, -10, 22, 12, f"{GLASS} light 40", tilt=-20) for x in (-120, 68)),
        *both(line([(160, -6), (228, -16)], 14, GLASS)),
        line([(-26, -4), (0, -12), (26, -4)], 14, GLASS),
    ),
    "earrings": (*ovals([(-240, 84), (240, 84)], 17, 17, GOLD), *ovals([(-245, 79), (235, 79)], 6, 6, "light")),
    "beanie": (
        oval(0, -196, 252, 170, "cloth dark 16"),
        line([(-226, -124), (-110, -154), (0, -160), (110, -154), (226, -124)], 76, "cloth dark 16 light 20"),
        oval(0, -372, 54, 50, "accent"),
    ),
    "cap": (
        oval(0, -186, 250, 160, "cloth"),
        oval(40, -128, 270, 40, "cloth dark 28", tilt=3),
        oval(0, -342, 18, 12, "accent"),
        oval(0, -226, 44, 40, "accent"),
    ),
    "hat": (
        outline(
            [(-170, -190), (-150, -400), (-60, -424), (0, -404), (60, -424), (150, -400), (170, -190)], "cloth dark 44"
        ),
        line([(-158, -222), (0, -236), (158, -222)], 46, "accent"),
        oval(0, -180, 336, 48, "cloth dark 44 light 8"),
    ),
    "headphones": (
        line(_BAND, 30, INK),
        *both(oval(254, 16, 52, 84, INK), oval(262, 16, 32, 60, "accent")),
    ),
    "crown": (
        outline([(-170, -200), (-196, -360), (-110, -284), (0, -400), (110, -284), (196, -360), (170, -200)], GOLD),
        line([(-168, -206), (0, -222), (168, -206)], 34, f"{GOLD} a05a00 30"),
        *ovals([(-192, -362), (0, -402), (192, -362)], 18, 18, "accent"),
        *ovals([(-90, -214), (0, -214), (90, -214)], 14, 14, "c83246"),
    ),
    "flower": (
        *ovals([(206, -166), (240, -142), (228, -100), (184, -100), (172, -142)], 30, 30, "fa82a0"),
        oval(206, -130, 22, 22, GOLD),
    ),
}

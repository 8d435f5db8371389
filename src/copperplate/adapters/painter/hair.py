"""Hair: what falls behind the head, in the paint `back`, and what lies on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.adapters.painter.figure import Mark, Marks, both, line, outline, oval, ovals

if TYPE_CHECKING:
    from collections.abc import Mapping


def _cap(low: int, wide: int, paint: str = "hair") -> Mark:
    """The top of the head down to `low`."""
    left = [(-wide, low + 60), (-wide + 6, low - 20), (-wide + 50, -232), (-90, -282), (0, -292), (90, -282)]
    right = [(wide - 50, -232), (wide - 6, low - 20), (wide, low + 60)]
    return outline([*left, *right, (160, low - 6), (0, low - 34), (-160, low - 6)], paint)


_COMBED_BACK: Final = (_cap(-136, 244), line([(-150, -190), (-60, -238), (0, -244)], 12, "hair light 22"))
_CURLS: Final = ovals([(n * 50, -212 + abs(n) * 16) for n in range(-4, 5)], 62, 58, "hair light 8", "hair")
_CURTAIN: Final = [(12, -276), (180, -246), (258, -90), (262, 90), (214, 60), (196, -60), (110, -130), (-10, -170)]
_CURTAINS: Final = (*both(outline(_CURTAIN, "hair")), line([(-140, -214), (-60, -250)], 14, "hair light 22"))

BEHIND: Final[Mapping[str, Marks]] = {
    "long": (oval(0, 60, 290, 400, "back"),),
    "wavy": (oval(0, -20, 280, 250, "back"), *both(*ovals([(230, 60), (246, 170), (214, 270)], 100, 100, "back"))),
    "bob": (oval(0, 20, 292, 270, "back"),),
    "curly": ovals(
        [(300 * n * 10 // 72, -240 + 300 * n * n // 42) for n in range(-7, 8)], 92, 92, "back", "back light 10"
    ),
    "afro": (oval(0, -90, 370, 350, "back"),),
    "ponytail": (oval(230, -150, 86, 80, "back"), oval(300, 0, 70, 190, "back", tilt=20)),
    "bun": (oval(0, -330, 104, 96, "back"),),
    "braids": both(
        *(oval(238 + 6 * n, 40 + 56 * n, 46 - 2 * n, 38, f"back light {9 * (n % 2)}") for n in range(6)),
        oval(272, 364, 24, 18, "accent"),
    ),
    "locs": tuple(
        line([(n * 52, -170), (n * 58, 60), (n * 61, 270 - abs(n) * 8)], 52, f"back light {8 * (n % 2)}")
        for n in range(-5, 6)
    ),
}
FRONT: Final[Mapping[str, Marks]] = {
    "bald": (oval(-70, -190, 60, 26, "skin light 45", tilt=-30),),
    "buzz": (_cap(-150, 238, "skin hair 62"),),
    "short": (
        _cap(-138, 244),
        outline([(-236, -60), (-236, -190), (-60, -262), (170, -230), (120, -150), (-60, -128), (-190, -108)], "hair"),
        line([(-130, -218), (-30, -244), (60, -240)], 16, "hair light 22"),
    ),
    "pixie": (
        _cap(-130, 244),
        outline(
            [(236, -40), (240, -180), (60, -270), (-190, -210), (-236, -60), (-150, -120), (20, -160), (150, -110)],
            "hair",
        ),
    ),
    "spiky": (
        _cap(-150, 240),
        *(
            outline([(n * 52 - 44, foot), (n * 62, -346 + abs(n) * 26), (n * 52 + 44, foot)], "hair")
            for n in range(-4, 5)
            for foot in [-170 + abs(n) * 14]
        ),
    ),
    "curly": _CURLS,
    "afro": _CURLS,
    "locs": tuple(
        line([(n * 20, -262), (n * 54, -150 + abs(n) * 10)], 50, f"hair light {9 * (1 - n % 2)}") for n in range(-4, 5)
    ),
    "bun": _COMBED_BACK,
    "ponytail": _COMBED_BACK,
    "braids": (*_COMBED_BACK, line([(0, -268), (0, -140)], 8, "skin hair 40")),
    "long": _CURTAINS,
    "wavy": _CURTAINS,
    "bob": _CURTAINS,
}

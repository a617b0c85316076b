"""Who a synthetic person is: the shape of the face, its colours, its age and its hair."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from eac_lightning.faces.synthetic.action_units import NEUTRAL, Floats, symmetric

# From very light to very dark, evenly spaced on `Identity.skin_tone`.
_SKIN = np.array(
    [
        (240, 210, 190),
        (232, 197, 169),
        (228, 187, 152),
        (206, 157, 117),
        (171, 119, 82),
        (128, 84, 57),
        (84, 54, 39),
    ]
)
HAIR_COLORS: dict[str, tuple[int, int, int]] = {
    "black": (34, 29, 30),
    "dark_brown": (62, 42, 32),
    "brown": (102, 68, 45),
    "auburn": (128, 62, 36),
    "blond": (206, 165, 104),
    "grey": (160, 157, 154),
}
EYE_COLORS: dict[str, tuple[int, int, int]] = {
    "dark_brown": (58, 36, 24),
    "brown": (104, 66, 38),
    "hazel": (122, 98, 52),
    "green": (84, 120, 84),
    "blue": (82, 126, 166),
    "grey": (112, 126, 136),
}
HAIR_STYLES = ("bald", "short", "fringe", "side_part", "bob", "long", "curly")
FACIAL_HAIR = ("none", "stubble", "moustache", "beard")

_EYE = (36, 37, 38, 39, 40, 41)
_MOUTH = (48, 49, 50, 51, 57, 58, 59, 60, 61, 62, 66, 67)
_BROW = (17, 18, 19, 20, 21)

# What +1 of a shape trait adds to the person's right half; the left follows by symmetry.
_TRAITS: dict[str, dict[int, tuple[float, float]]] = {
    "jaw_width": {3: (-0.05, 0.0), 4: (-0.08, 0.02), 5: (-0.09, 0.02), 6: (-0.07, 0.01), 7: (-0.03, 0.0)},
    "chin_length": {4: (0, 0.02), 5: (0, 0.05), 6: (0, 0.08), 7: (0, 0.09), 8: (0, 0.10)},
    "eye_spacing": dict.fromkeys((*_EYE, *_BROW), (-0.035, 0.0)),
    "eye_height": {37: (0, -0.022), 38: (0, -0.022), 40: (0, 0.01), 41: (0, 0.01)},
    "eye_tilt": {36: (0, -0.03), 37: (0, -0.015), 41: (0, -0.02), 39: (0, 0.01)},
    "brow_height": dict.fromkeys(_BROW, (0.0, -0.045)),
    "brow_tilt": {17: (0, -0.03), 18: (0, -0.02), 20: (0, 0.01), 21: (0, 0.015)},
    "nose_length": {29: (0, 0.03), 30: (0, 0.05), 31: (0, 0.05), 32: (0, 0.05), 33: (0, 0.05)},
    "nose_width": {31: (-0.045, 0.0), 32: (-0.02, 0.0)},
    "mouth_width": {48: (-0.05, 0.0), 60: (-0.05, 0.0), 49: (-0.025, 0), 59: (-0.025, 0)},
    "mouth_height": dict.fromkeys(_MOUTH, (0.0, 0.04)),
    "mouth_curve": {48: (0.0, -0.03), 60: (0.0, -0.03), 49: (0, -0.01), 59: (0, -0.01)},
    "lip_fullness": {
        49: (0, -0.02),
        50: (0, -0.03),
        51: (0, -0.03),
        57: (0, 0.035),
        58: (0, 0.035),
        59: (0, 0.02),
    },
}
_SHAPES = {name: symmetric(moves) for name, moves in _TRAITS.items()}

SHAPE_TRAITS = (*_TRAITS, "face_width", "brow_thickness")
"""The traits of a face's shape: 0 is the mean face, ±1 a clear departure from it."""


@dataclass(frozen=True)
class Identity:
    """One person."""

    shape: Mapping[str, float] = field(default_factory=dict)
    """Trait of :data:`SHAPE_TRAITS` -> from -1.3 to 1.3; what is not named is that of the mean face."""
    age: float = 0.3
    """0 is a smooth young face, 1 one with every line."""
    skin_tone: float = 0.3
    """0 is very light, 1 very dark."""
    lip_color: float = 0.0
    """0 is a natural tint, 1 lipstick."""
    lashes: float = 0.3
    """0 is short, 1 long and dark."""
    hair_style: str = "short"
    hair_color: str = "brown"
    eye_color: str = "brown"
    facial_hair: str = "none"

    @cached_property
    def skin(self) -> Floats:
        """The skin's colour, RGB in [0, 255]."""
        steps = np.linspace(0.0, 1.0, len(_SKIN))
        return np.array([np.interp(self.skin_tone, steps, _SKIN[:, c]) for c in range(3)])

    @cached_property
    def hair(self) -> Floats:
        """The hair's colour, RGB in [0, 255]."""
        return np.array(HAIR_COLORS[self.hair_color], dtype=float)

    @property
    def width(self) -> float:
        """How much wider than the mean the head is."""
        return 1.0 + 0.05 * self.shape.get("face_width", 0.0)

    def landmarks(self) -> Floats:
        """Return this person's landmarks (68, 3) at rest."""
        points = NEUTRAL.copy()
        for name, shape in _SHAPES.items():
            points += self.shape.get(name, 0.0) * shape
        points[:, 0] *= self.width
        return points


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draw a person."""
    traits = np.clip(rng.normal(0.0, 0.55, len(SHAPE_TRAITS)), -1.3, 1.3)
    age = float(rng.beta(1.3, 1.8))
    bearded = rng.random() < 0.3
    styles = ("short", "bald", "side_part", "curly") if bearded else HAIR_STYLES
    grey = rng.random() < (age - 0.45) * 1.6
    tone = float(rng.random())
    # Light hair and eyes are rare among dark skins.
    colors = list(HAIR_COLORS)[:5] if tone < 0.45 else list(HAIR_COLORS)[:2]
    eyes = list(EYE_COLORS) if tone < 0.45 else list(EYE_COLORS)[:2]
    return Identity(
        shape=dict(zip(SHAPE_TRAITS, traits.tolist(), strict=True)),
        age=age,
        skin_tone=tone,
        lip_color=0.0 if bearded or rng.random() < 0.6 else float(rng.uniform(0.3, 1.0)),
        lashes=float(rng.uniform(0.0, 0.4 if bearded else 1.0)),
        hair_style=str(rng.choice(styles)),
        hair_color="grey" if grey else str(rng.choice(colors)),
        eye_color=str(rng.choice(eyes)),
        facial_hair=str(rng.choice(FACIAL_HAIR[1:])) if bearded else "none",
    )

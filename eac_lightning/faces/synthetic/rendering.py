"""From the parameters of a face to its picture and its landmarks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from eac_lightning.errors import ConfigurationError, unknown_name
from eac_lightning.faces.synthetic.action_units import Floats, displacement
from eac_lightning.faces.synthetic.canvas import Canvas, rotation
from eac_lightning.faces.synthetic.features import draw_brows, draw_eyes, draw_lines, draw_mouth, draw_nose
from eac_lightning.faces.synthetic.head import draw_beard, draw_behind, draw_hair, draw_head
from eac_lightning.faces.synthetic.identity import Identity
from eac_lightning.faces.synthetic.occlusion import OCCLUSIONS
from eac_lightning.faces.synthetic.shading import bumps, head_normals, light_direction, lit

MIN_SIZE, MAX_SIZE = 48, 512


@dataclass(frozen=True)
class FaceParameters:
    """Everything that makes one picture: the same parameters always give the same bytes."""

    expression: str = "neutral"
    intensity: float = 0.0
    """Of the expression, in [0, 1]."""
    action_units: Mapping[int, float] = field(default_factory=dict)
    """Action unit -> intensity in [0, 1]; what is not named is at rest."""
    side: str = "both"
    """The side of the face that moves: ``both``, or the person's ``right`` or ``left``."""
    identity: Identity = field(default_factory=Identity)
    yaw: float = 0.0
    """Degrees; positive turns the face to the picture's right."""
    pitch: float = 0.0
    """Degrees; positive looks up."""
    roll: float = 0.0
    """Degrees; positive is clockwise."""
    shift_x: float = 0.0
    """Of the head, in picture sides."""
    shift_y: float = 0.0
    zoom: float = 1.0
    gaze_x: float = 0.0
    """Where the eyes look, from -1 (picture's left) to 1."""
    gaze_y: float = 0.0
    light_azimuth: float = 0.0
    """Degrees; positive is light from the picture's right."""
    light_elevation: float = 30.0
    """Degrees; positive is light from above."""
    light_strength: float = 0.5
    """Share of the light that has a direction, in [0, 1]."""
    exposure: float = 1.0
    occlusion: str = "none"
    blur: float = 0.0
    """Standard deviation in percent of the picture's side."""
    noise: float = 0.0
    """Standard deviation of the sensor noise, in grey levels of 255."""
    seed: int = 0
    """Of background, clothes, strands, what occludes, and noise."""

    @property
    def right_units(self) -> Mapping[int, float]:
        """The action units of the person's right side."""
        return {} if self.side == "left" else self.action_units

    @property
    def left_units(self) -> Mapping[int, float]:
        """The action units of the person's left side."""
        return {} if self.side == "right" else self.action_units


@dataclass(frozen=True)
class SyntheticFace:
    """A picture and what is known about it.

    Attributes:
        image: RGB (H, W, 3), uint8.
        landmarks: (68, 2), x and y in pixels from the picture's upper left corner; may lie outside of it.
        parameters: What it was made from.
    """

    image: NDArray[np.uint8]
    landmarks: Floats
    parameters: FaceParameters


def check_size(size: int) -> None:
    """Raise a ConfigurationError unless pictures can be ``size`` pixels wide."""
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ConfigurationError(
            f"A synthetic face is {MIN_SIZE} to {MAX_SIZE} pixels wide; {size} was asked for. Choose a size in between."
        )


def render_face(params: FaceParameters, size: int = 64) -> SyntheticFace:
    """Draw a face.

    Args:
        params: What to draw.
        size: Side of the picture in pixels, 48 to 512.

    Raises:
        ConfigurationError: For a size out of range or an unknown occlusion.
    """
    check_size(size)
    if params.occlusion not in ("none", *OCCLUSIONS):
        raise unknown_name("occlusion", params.occlusion, ("none", *OCCLUSIONS))
    rng = np.random.default_rng(params.seed)
    right, left = params.right_units, params.left_units
    points = params.identity.landmarks() + displacement(right, left)

    turn = rotation(params.yaw, params.pitch, params.roll)
    scale = size / 2.65 * params.zoom
    center = size * np.array([0.5 + params.shift_x, 0.53 + params.shift_y])
    backdrop = rng.uniform(60, 210) + rng.uniform(-28, 28, 3)
    canvas = Canvas(size, turn, center, scale, backdrop)
    _draw(canvas, points, params, right, left, rng)
    picture, body = canvas.finish()

    axes = tuple((np.arange(size) + 0.5 - middle) / scale for middle in center)
    cheeks = tuple(min(1.0, units.get(6, 0.0) + 0.5 * units.get(12, 0.0)) for units in (right, left))
    normals, tint = head_normals((axes[0], axes[1]), turn, bumps(points, (cheeks[0], cheeks[1]), params.identity.age))
    light = light_direction(params.light_azimuth, params.light_elevation, turn)
    picture = lit(picture, body, normals, tint, light, turn[2], params.light_strength) * params.exposure
    picture += _gradient(size, rng) * (1 - body[..., None])
    return SyntheticFace(_camera(picture, params, size, rng), canvas.project(points), params)


def _draw(
    canvas: Canvas,
    points: Floats,
    params: FaceParameters,
    right: Mapping[int, float],
    left: Mapping[int, float],
    rng: np.random.Generator,
) -> None:
    person = params.identity
    draw_behind(canvas, points, person, rng.uniform(30, 190) + rng.uniform(-50, 50, 3))
    draw_head(canvas, points, person)
    draw_hair(canvas, person, rng)
    draw_beard(canvas, points, person)
    draw_lines(canvas, points, person, right, left)
    draw_nose(canvas, points, person)
    draw_mouth(canvas, points, person)
    draw_eyes(canvas, points, person, (0.07 * params.gaze_x, 0.03 * params.gaze_y))
    draw_brows(canvas, points, person)
    if params.occlusion != "none":
        OCCLUSIONS[params.occlusion](canvas, points, person, rng)


def _gradient(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a soft light (H, W, 1) that makes the backdrop less flat."""
    x = np.linspace(-1, 1, size, dtype=np.float32)
    slope = rng.uniform(-30, 30, 2).astype(np.float32)
    return np.asarray((slope[0] * x[None, :] + slope[1] * x[:, None])[..., None])


def _camera(
    picture: NDArray[np.float32], params: FaceParameters, size: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    if params.blur:
        blurred = Image.fromarray(_bytes(picture)).filter(ImageFilter.GaussianBlur(params.blur * size / 100))
        picture = np.asarray(blurred, dtype=np.float32)
    if params.noise:
        picture = picture + np.float32(params.noise) * rng.standard_normal(picture.shape, dtype=np.float32)
    return _bytes(picture)


def _bytes(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray((np.clip(picture, 0, 255) + 0.5).astype(np.uint8))

"""Synthetic faces: drawn at random, rendered, and written as a data set with clean labels."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eac_lightning._files import making
from eac_lightning.errors import ConfigurationError, DataError, unknown_name
from eac_lightning.faces.synthetic.action_units import ACTION_UNITS, EXPRESSIONS
from eac_lightning.faces.synthetic.identity import Identity, sample_identity
from eac_lightning.faces.synthetic.occlusion import OCCLUSIONS
from eac_lightning.faces.synthetic.rendering import FaceParameters, SyntheticFace, check_size, render_face

TABLE = "synthetic.csv"
"""Not ``labels.csv``: the class folders are the labels, this says what the pictures show."""


def sample_face(
    expression: str,
    rng: np.random.Generator,
    *,
    identity: Identity | None = None,
    intensity: float | None = None,
    occlusion: str | None = None,
    variation: float = 1.0,
) -> FaceParameters:
    """Draw a face that shows an expression; anything else about it can be set with ``dataclasses.replace``.

    Args:
        expression: One of :data:`EXPRESSIONS`.
        rng: Where the draws come from; one call takes the same number whatever is given.
        identity: The person; drawn if None.
        intensity: Of the expression, in [0, 1]; drawn from 0.35 to 1 if None.
        occlusion: ``none``, ``glasses``, ``hand``, ``mask`` or ``hair``; drawn if None, and then none of them
            in 85 of 100 faces.
        variation: From 0 to 1: how far pose, place, gaze, light, occlusion, blur and noise spread, and how far
            the intensity falls below 1. It changes no draw, only how far each one counts.

    Raises:
        ConfigurationError: For an unknown expression, or an intensity or a variation out of range.
    """
    if expression not in EXPRESSIONS:
        raise unknown_name("expression", expression, EXPRESSIONS)
    if intensity is not None and not 0 <= intensity <= 1:
        raise ConfigurationError(
            f"The intensity of an expression lies between 0 (at rest) and 1; found {intensity}. "
            "Leave it out to have it drawn."
        )
    if not 0 <= variation <= 1:
        raise ConfigurationError(f"Expected a variation from 0 (all alike) to 1, but got {variation}.")
    drawn_person = sample_identity(rng)
    person = identity or drawn_person
    drawn = 1 - variation * (1 - float(rng.uniform(0.35, 1.0)))
    strength = drawn if intensity is None else intensity
    units = {unit: min(1.0, strength * float(rng.uniform(0.8, 1.15))) for unit in EXPRESSIONS[expression]}
    if rng.random() < 0.4:
        units[25] = float(rng.uniform(0.2, 1.0))
    hidden = str(rng.choice(list(OCCLUSIONS))) if rng.random() < 0.15 * variation else "none"
    if hidden == "hair" and person.hair_style == "bald":
        hidden = "glasses"
    side = str(rng.choice(["left", "right"]))
    # Most people look at the camera, more or less.
    yaw, pitch, roll = np.clip(rng.normal(0, 0.45, 3), -1, 1) * (25, 15, 15) * variation
    shift = rng.uniform(-0.03, 0.03, 2) * variation
    gaze = np.clip(rng.normal(0, 0.4, 2), -1, 1) * variation
    return FaceParameters(
        expression=expression,
        intensity=strength if EXPRESSIONS[expression] else 0.0,
        action_units=units,
        side=side if expression == "contempt" else "both",
        identity=person,
        yaw=float(yaw),
        pitch=float(pitch),
        roll=float(roll),
        shift_x=float(shift[0]),
        shift_y=float(shift[1]),
        zoom=1 + variation * float(rng.uniform(-0.06, 0.06)),
        gaze_x=float(gaze[0]),
        gaze_y=float(gaze[1]),
        light_azimuth=variation * float(rng.uniform(-65, 65)),
        light_elevation=float(rng.uniform(-5, 60)),
        light_strength=float(rng.uniform(0.2, 0.75)),
        exposure=float(rng.uniform(0.85, 1.12)),
        occlusion=hidden if occlusion is None else occlusion,
        blur=variation * float(max(0.0, rng.uniform(-1.0, 1.2))),
        noise=variation * float(rng.uniform(0.0, 7.0)),
        seed=int(rng.integers(2**31)),
    )


def contact_sheet(
    rows: int = 4, columns: Sequence[str] = tuple(EXPRESSIONS), size: int = 96, seed: int = 0
) -> NDArray[np.uint8]:
    """Return a picture (rows * size, len(columns) * size, 3): a person a row, an expression a column."""
    sheet = []
    for row in range(rows):
        rng = np.random.default_rng((seed, row))
        person = sample_identity(rng)
        faces = [sample_face(name, rng, identity=person, intensity=0.9, occlusion="none") for name in columns]
        calm = [replace(face, yaw=face.yaw / 2, pitch=face.pitch / 2, roll=face.roll / 3) for face in faces]
        sheet.append(
            np.concatenate([render_face(replace(face, blur=0.0, noise=0.0), size).image for face in calm], axis=1)
        )
    return np.concatenate(sheet)


def write_synthetic_faces(
    out: Path,
    count: int = 2000,
    size: int = 64,
    seed: int = 0,
    classes: Sequence[str] = tuple(EXPRESSIONS),
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    variation: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``out/{train,val,test}/<class>/<id>.png`` and the table ``out/synthetic.csv``.

    The table has a row a face: path, label, split, every parameter, the action units of either side
    (``right_au1`` …), and the landmarks in pixels (``x0``, ``y0`` …). Classes are balanced in every split,
    and face ``i`` is the same whatever the count.

    Args:
        out: Folder to make; it may exist if it is empty.
        count: Number of faces.
        size: Side of the pictures in pixels, 48 to 512.
        seed: Same seed, same bytes.
        classes: Which of :data:`EXPRESSIONS`.
        val_fraction: Share of each class that goes to ``val``.
        test_fraction: Share of each class that goes to ``test``.
        variation: See :func:`sample_face`.
        progress: Called with (faces written, count) after each.

    Returns:
        The path of the table.

    Raises:
        ConfigurationError: For a size, a seed, a class, a fraction or a count that cannot be.
        DataError: When ``out`` exists and is not an empty folder; nothing in it is touched.
    """
    out = Path(out)
    check_size(size)
    if seed < 0:
        raise ConfigurationError(f"A seed is 0 or more; found {seed}. Take any non-negative number.")
    splits = _splits(count, classes, val_fraction, test_fraction)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(
            f"Synthetic faces are written into a new or empty folder, but {out} exists and is not empty. "
            "Name another folder, or remove this one first."
        )
    with making(out) as made:
        _write(made, [(classes[i % len(classes)], splits[i]) for i in range(count)], size, seed, variation, progress)
    return out / TABLE


def _splits(count: int, classes: Sequence[str], val_fraction: float, test_fraction: float) -> list[str]:
    """Return the split of each face; the classes take turns, so each has every len(classes)-th face."""
    for name in classes:
        if name not in EXPRESSIONS:
            raise unknown_name("expression", name, EXPRESSIONS)
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise ConfigurationError(
            f"Synthetic faces need two or more different classes; found {list(classes)}. "
            f"Choose from {', '.join(EXPRESSIONS)}."
        )
    if not (0 < val_fraction < 1 and 0 < test_fraction < 1 and val_fraction + test_fraction < 1):
        raise ConfigurationError(
            "The fractions of val and test must lie between 0 and 1 and leave something to train on; found "
            f"val_fraction={val_fraction} and test_fraction={test_fraction}. Try 0.15 each."
        )
    splits = []
    for start in range(len(classes)):
        faces = len(range(start, count, len(classes)))
        val, test = round(faces * val_fraction), round(faces * test_fraction)
        if min(val, test, faces - val - test) < 1:
            enough = len(classes) * int(np.ceil(1 / min(val_fraction, test_fraction, 1 - val_fraction - test_fraction)))
            raise ConfigurationError(
                f"{count} faces are too few for {len(classes)} classes in train, val and test "
                f"(val_fraction={val_fraction}, test_fraction={test_fraction}). Ask for {enough} or more."
            )
        splits.append(["val"] * val + ["test"] * test + ["train"] * (faces - val - test))
    return [splits[i % len(classes)][i // len(classes)] for i in range(count)]


def _write(
    folder: Path,
    plan: list[tuple[str, str]],
    size: int,
    seed: int,
    variation: float,
    progress: Callable[[int, int], None] | None,
) -> None:
    for label, split in sorted(set(plan)):
        (folder / split / label).mkdir(parents=True)
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[str] | None = None
        for i, (label, split) in enumerate(plan):
            face = render_face(sample_face(label, np.random.default_rng((seed, i)), variation=variation), size)
            path = f"{split}/{label}/{i:06d}.png"
            Image.fromarray(face.image).save(folder / path, compress_level=1)
            row = {"path": path, "label": label, "split": split} | _row(face)
            if writer is None:
                writer = csv.DictWriter(file, list(row))
                writer.writeheader()
            writer.writerow(row)
            if progress:
                progress(i + 1, len(plan))


def _row(face: SyntheticFace) -> dict[str, str]:
    """Return every parameter of a face as columns of the table."""
    params = face.parameters
    values: dict[str, float | int | str] = {
        entry.name: getattr(thing, entry.name)
        for thing in (params, params.identity)
        for entry in fields(thing)
        if entry.name not in ("action_units", "identity", "shape")
    }
    values |= params.identity.shape
    for side, units in (("right", params.right_units), ("left", params.left_units)):
        values |= {f"{side}_au{unit}": float(units.get(unit, 0.0)) for unit in sorted(ACTION_UNITS)}
    for k, (x, y) in enumerate(face.landmarks.tolist()):
        values |= {f"x{k}": x, f"y{k}": y}
    return {name: f"{value:.4f}" if isinstance(value, float) else str(value) for name, value in values.items()}

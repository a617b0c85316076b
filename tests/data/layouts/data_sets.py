"""Data sets as they lie on disk, made of noise: the true folders, names and files, and few pictures."""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from eac_lightning.data.layouts import affectnet, ckplus, ckplus48, expw, fer2013, ferg, jaffe, kdef, sfew

PEOPLE = 8


def draw(path: Path, width: int = 12, height: int = 10, colour: bool = False) -> Path:
    """Write noise that no other name has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(str(path).encode()))
    shape = (height, width, 3) if colour else (height, width)
    Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(path)
    return path


def make_affectnet(root: Path, header: bool = True, folder: str = affectnet.FOLDER) -> Path:
    """All eleven codes, twice in training and once in validation; the ones without an emotion have no box."""
    landmarks = ";".join(f"{i}.5" for i in range(136))
    for name, copies in (("training.csv", 2), ("validation.csv", 1)):
        lines = [",".join(affectnet.COLUMNS)] if header else []
        for number in range(11 * copies):
            code, file = number % 11, f"{number % 3}/{name[:5]}{number:04x}.jpg"
            draw(root / affectnet.IMAGES[0] / file, 20, 16, colour=True)
            box = "3,2,10,9" if code < 9 else "NULL,NULL,NULL,NULL"
            lines.append(f"{file},{box},{landmarks},{code},{-2 if code > 7 else 0.25},0.5")
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / name).write_text("\n".join([*lines, ""]))
    return root


def make_affectnet_npy(root: Path) -> Path:
    """Expressions as text with and without dimensions, and as numbers: the releases differ."""
    for split, count in (("train_set", 24), ("val_set", 8)):
        for number in range(count):
            draw(root / split / "images" / f"{number}.jpg", colour=True)
            value = (str(number % 8), number % 8, [str(number % 8)])[number % 3]
            for kind, content in (("exp", value), ("val", "0.25"), ("aro", "-0.5"), ("lnd", np.zeros(136))):
                file = root / split / "annotations" / f"{number}_{kind}.npy"
                file.parent.mkdir(exist_ok=True)
                np.save(file, np.array(content))
    return root


def make_ckplus(root: Path, frames: int = 5) -> Path:
    """Each person shows each emotion once, and one sequence more that has no emotion file."""
    for person in range(PEOPLE):
        for number in range(1, len(ckplus.CLASSES) + 1):
            sequence = f"S{person + 5:03d}/{number:03d}"
            names = [f"{sequence.replace('/', '_')}_{frame:08d}" for frame in range(1, frames + 1)]
            for name in names:
                draw(root / "cohn-kanade-images" / sequence / f"{name}.png")
            if number < len(ckplus.CLASSES):
                (root / "Emotion" / sequence).mkdir(parents=True)
                text = f"   {number:.7e}\n"  # as 3.0000000e+00
                (root / "Emotion" / sequence / f"{names[-1]}_emotion.txt").write_text(text)
    return root


def make_ckextended(root: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["emotion,pixels,Usage"]
    for usage, copies in (("Training", 3), ("PublicTest", 1), ("PrivateTest", 1)):
        for code in [*range(len(ckplus48.CLASSES))] * copies:
            lines.append(f"{code},{' '.join(map(str, rng.integers(0, 256, fer2013.SIDE**2)))},{usage}")
    root.mkdir(parents=True, exist_ok=True)
    (root / ckplus48.FILE).write_text("\n".join(lines))
    return root


def make_ckplus48(root: Path) -> Path:
    """The three last frames of a sequence for each person and emotion; nobody is neutral."""
    for number, name in enumerate(name for name in ckplus48.CLASSES if name != "neutral"):
        for person in range(PEOPLE):
            for frame in (17, 18, 19):
                draw(root / "CK+48" / name / f"S{person + 10:03d}_{number + 1:03d}_{frame:08d}.png", 48, 48)
    return root


def make_jaffe(root: Path) -> Path:
    """With the text and the hidden file that come with it."""
    number = 0
    for person in ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM"):
        for code in jaffe.CODES:
            for take in (1, 2):
                number += 1
                draw(root / f"{person}.{code}{take}.{number}.tiff")
    (root / "README_FIRST.txt").write_text("read me")
    (root / ".DS_Store").touch()
    return root


def make_ferg(root: Path) -> Path:
    for person in ("aia", "bonnie", "jules", "malcolm", "mery", "ray"):
        for name in ferg.CLASSES:
            for number in range(1, 4):
                draw(root / "FERG_DB_256" / person / f"{person}_{name}" / f"{person}_{name}_{number}.png", colour=True)
    (root / "FERG_DB_256" / "README.txt").write_text("read me")
    return root


def make_expw(root: Path, photos: int = 42) -> Path:
    """Two faces in each photograph, so that no path but the face's own is unique."""
    lines = []
    for number in range(photos):
        name = f"happy_expression {number}.jpg" if number == 3 else f"happy_expression_{number}.jpg"
        draw(root / "image" / "origin" / name, 40, 30, colour=True)
        for face in range(2):
            left = 2 + 20 * face
            # top, left, right, bottom: 14 wide, 16 high
            lines.append(f"{name} {face} 5 {left} {left + 14} 21 83.4 {(number + face) % len(expw.CLASSES)}")
    (root / "label").mkdir()
    (root / "label" / "label.lst").write_text("\n".join([*lines, ""]))
    return root


def make_kdef(root: Path, angles: Sequence[str] = ("HL", "S")) -> Path:
    """With the two pictures that the true one has under names of another form, in short."""
    for session in "AB":
        for person in [f"{sex}{number:02d}" for sex in "FM" for number in range(1, PEOPLE // 2 + 1)]:
            for code in kdef.CODES:
                for angle in angles:
                    draw(root / "KDEF" / f"{session}{person}" / f"{session}{person}{code}{angle}.JPG", colour=True)
    draw(root / "KDEF" / "AF01" / "AF01V.JPG")
    return root


def make_sfew(root: Path, form: str = "{split}/{split}_Aligned_Faces", test: bool = True) -> Path:
    """Labelled pictures of two films for each split, and a test set without labels."""
    for split in ("Train", "Val"):
        for name in sfew.CLASSES:
            for number in range(6):
                film = f"{split}Film{number % 2}"
                file = f"{film}_{number:09d}_{number:08d}.png"
                draw(root / form.format(split=split) / name / file, colour=True)
    if test:
        for number in range(3):
            draw(root / form.format(split="Test") / f"Film_{number:09d}_{number:08d}.png")
    return root


DATA_SETS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "affectnet": ("affectnet", make_affectnet),
    "affectnet_npy": ("affectnet_npy", make_affectnet_npy),
    "ckplus": ("ckplus", make_ckplus),
    "ckplus48, table": ("ckplus48", make_ckextended),
    "ckplus48, pictures": ("ckplus48", make_ckplus48),
    "jaffe": ("jaffe", make_jaffe),
    "ferg": ("ferg", make_ferg),
    "expw": ("expw", make_expw),
    "kdef": ("kdef", make_kdef),
    "sfew": ("sfew", make_sfew),
}
"""Name of the layout, and who makes it."""

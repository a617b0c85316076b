"""CK+: sequences of frames from neutral to the peak of an expression, some of which have an emotion."""

import re
from pathlib import Path

from eac_lightning.data.layouts.base import Options, Rows, make_table
from eac_lightning.data.layouts.by_name import without_absent_classes
from eac_lightning.data.pictures import check_inside
from eac_lightning.data.text_tables import read_text
from eac_lightning.errors import DataError

CLASSES = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
IMAGES = ("cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images")
LABELS = ("Emotion", "Emotion_labels/Emotion", "Emotion_labels")
LAST = 3
"""How many frames, from the last one back, show the emotion; the first frame is neutral."""

NEEDS = "cohn-kanade-images/S005/001/….png and Emotion/S005/001/…_emotion.txt"
_FRAME = re.compile(r"S\d{3}_\d{3}_\d{8}\.png", re.IGNORECASE)
_LABEL = re.compile(r"S\d{3}_\d{3}_\d{8}_emotion\.txt", re.IGNORECASE)


def recognise(root: Path, options: Options) -> str:
    """Say that both folders are there."""
    del options
    images, labels = _first(root, IMAGES), _first(root, LABELS)
    return f"{images.name}/ and {labels.name}/ are there" if images and labels else ""


def read(root: Path, options: Options) -> Rows:
    """Read the sequences that have an emotion: the last frames show it, the first one is neutral.

    Raises:
        DataError: A folder is missing, an emotion file is not of its form, or a sequence with one has no frames.
    """
    images, labels = _first(root, IMAGES), _first(root, LABELS)
    if images is None or labels is None:
        raise DataError(f"Expected {NEEDS} in {root}, but a folder is missing.")
    rows: list[tuple[str, int, str]] = []
    sequences, unlabelled = sorted(path for path in images.glob("S*/*") if path.is_dir()), 0
    for sequence in sequences:
        file = _emotion_file(labels / sequence.relative_to(images))
        if file is None:
            unlabelled += 1
            continue
        check_inside(root, file, options.allow_outside)
        label = _emotion(file)
        frames = _named(sequence, _FRAME)
        if not frames:
            raise DataError(f"Expected frames such as S005_001_00000011.png in {sequence}, but there is none.")
        subject = sequence.parent.name
        # A sequence too short to begin neutral gives only its peak.
        if len(frames) > LAST:
            rows.append((frames[0].relative_to(root).as_posix(), 0, subject))
        rows += [(frame.relative_to(root).as_posix(), label, subject) for frame in frames[-LAST:]]
    if not rows:
        raise DataError(f"Expected sequences with an emotion file in {images} and {labels}, but there is none.")
    used = f"Of {len(sequences)} sequences, {unlabelled} have no emotion file and are left out."
    taken = f"The last {LAST} frames of each show its emotion; the first frame is neutral; the rest are not used."
    paths, codes, subjects = zip(*rows, strict=True)
    return without_absent_classes(Rows(root, make_table(paths, codes, subject=subjects), CLASSES, (used, taken)))


def _first(root: Path, folders: tuple[str, ...]) -> Path | None:
    return next((root / folder for folder in folders if (root / folder).is_dir()), None)


def _named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name)) if folder.is_dir() else []


def _emotion_file(folder: Path) -> Path | None:
    files = _named(folder, _LABEL)
    if len(files) > 1:
        raise DataError(f"Expected one emotion file in {folder}, but found {', '.join(file.name for file in files)}.")
    return files[0] if files else None


def _emotion(file: Path) -> int:
    """Return the code in an emotion file, such as ``3.0000000e+00``."""
    text = read_text(file, "emotion file").strip()
    if re.fullmatch(rf"[0-{len(CLASSES) - 1}](\.0*(e\+?0+)?)?", text) is None:
        raise DataError(f"Expected one number from 0 to {len(CLASSES) - 1} in {file}, but found {text[:40]!r}.")
    return int(text[0])

"""From a folder of photographs to a folder of face crops."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from eac_lightning._files import replacing
from eac_lightning.data.decoding import decode_image
from eac_lightning.data.pictures import list_pictures
from eac_lightning.errors import ConfigurationError, DataError, unknown_name
from eac_lightning.faces.alignment import Alignment
from eac_lightning.faces.crop_names import crop_files, plan_names
from eac_lightning.faces.crop_tables import read_photo_table, write_crop_table
from eac_lightning.faces.detection import SMALLEST, Detector, Face, FaceDetector
from eac_lightning.faces.manifest import Manifest, Row, face_row, reason_row
from eac_lightning.faces.settings import claim_folder

FACES = ("largest", "all", "one")


@dataclass(frozen=True)
class Extraction:
    """What ``extract_faces`` did.

    Attributes:
        photographs: How many there are.
        crops: How many crops there are of them.
        without: Reason → how many photographs, or faces in one, gave no crop for it.
        new_photographs: How many of them this run looked at; an earlier one did the others.
        new_crops: The crops that it made.
        seconds: The time that it took.
        notes: What became of a table, and of crops whose photographs are gone.
    """

    photographs: int
    crops: int
    without: Mapping[str, int]
    new_photographs: int
    new_crops: int
    seconds: float
    notes: tuple[str, ...] = ()


def extract_faces(
    source: str | Path,
    out: str | Path,
    *,
    alignment: Alignment | None = None,
    faces: str = "largest",
    min_size: int = 40,
    min_confidence: float = 0.9,
    batch_size: int = 16,
    device: str = "cpu",
    path_column: str = "path",
    detector: Detector | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Extraction:
    """Find, align and cut out the faces of every photograph below a folder.

    ``source/train/happy/a.jpg`` becomes ``out/train/happy/a.png``, and several faces ``a_0.png``, ``a_1.png``, the
    largest first. A table of labels (``labels.csv``, see ``data.layouts.table``) is written again with the crops'
    paths. ``out/manifest.csv`` has a row for each face, and one with the reason for each photograph that gave none;
    ``out/faces.json`` has the settings. A run that was interrupted goes on where it stopped, and one that was
    finished looks only at photographs that are new and at those whose crops were removed or are called otherwise now
    (where ``b.png`` came to ``b.jpg``). Crops go with their photographs: where one is gone, so are they.

    Args:
        source: The photographs' folder. Nothing in it is changed.
        out: The folder to make, or that of an earlier run with the same settings.
        alignment: How faces are cut out; five points at 112 pixels if left out.
        faces: Which ones: the ``"largest"``, ``"all"``, or ``"one"``: photographs with several give none.
        min_size: Faces whose box's longer side is less, in pixels, are left out.
        min_confidence: See :class:`FaceDetector`, as to very large photographs.
        batch_size: Photographs in memory at a time; as many are read ahead.
        device: Where the detector runs.
        path_column: The table's column of paths.
        detector: Used instead of a ``FaceDetector``.
        progress: Called with (photographs done, photographs to do) before each batch.

    Raises:
        ConfigurationError: An argument is out of its range, or an earlier run had other settings.
        DataError: There are no photographs, the table is not one or names none of them, or ``out`` lies in
            ``source`` or holds something else.
    """
    start = time.perf_counter()
    source, out, alignment = Path(source), Path(out), alignment or Alignment()
    _check(source, out, faces, min_size, batch_size)
    photographs = list_pictures(source, "photographs")
    table = read_photo_table(source, path_column, photographs)
    detector = detector or FaceDetector(max(min_size, SMALLEST), min_confidence, device)
    settings = {
        "source": _path_between(out.resolve(), source.resolve()),
        "alignment": alignment.to_dict(),
        "faces": faces,
        "min_size": min_size,
        "min_confidence": min_confidence,
    }
    claim_folder(out, settings)
    manifest = Manifest(out)
    names = plan_names(photographs, faces == "all")
    gone = manifest.keep(names)
    todo = [name for name in photographs if name not in manifest.rows]
    for count, (batch, images) in enumerate(_read_ahead(source, todo, batch_size)):
        if progress:
            progress(count * batch_size, len(todo))
        chosen = _search(detector, images, faces, min_size)
        manifest.add(
            [_cut_out(name, some, alignment, out, names[name]) for name, some in zip(batch, chosen, strict=True)]
        )
    if todo or gone:
        manifest.finish()
    notes = [f"{gone} photographs are gone since an earlier run, and so are their crops."] if gone else []
    if table:
        notes.append(write_crop_table(out / table[0].name, table[1], path_column, manifest.crops()))
    return _summary(manifest, todo, time.perf_counter() - start, tuple(notes))


def _check(source: Path, out: Path, faces: str, min_size: int, batch_size: int) -> None:
    if faces not in FACES:
        raise unknown_name("choice of faces", faces, FACES)
    if batch_size < 1 or min_size < 0:
        raise ConfigurationError(
            f"Expected batch_size of 1 or more and min_size of 0 or more, but got {batch_size} and {min_size}."
        )
    if out.resolve().is_relative_to(source.resolve()):
        raise DataError(f"Crops in {out} would lie among the photographs in {source}. Name a folder outside of it.")


def _path_between(start: Path, end: Path) -> str:
    try:
        return Path(os.path.relpath(end, start)).as_posix()
    except ValueError:  # between the drives of Windows there is none
        return end.as_posix()


def _summary(manifest: Manifest, todo: Sequence[str], seconds: float, notes: tuple[str, ...]) -> Extraction:
    crops = manifest.crops()
    # What exactly made a picture unreadable is in the manifest.
    reasons = (row["reason"].partition(":")[0] for rows in manifest.rows.values() for row in rows if row["reason"])
    return Extraction(
        photographs=len(crops),
        crops=sum(map(len, crops.values())),
        without=dict(Counter(reasons).most_common()),
        new_photographs=len(todo),
        new_crops=sum(len(crops[name]) for name in todo),
        seconds=seconds,
        notes=notes,
    )


def choose_faces(found: Sequence[Face], faces: str, min_size: float) -> Sequence[Face] | str:
    """Return those faces of a photograph that are wanted, or the reason why there are none.

    Args:
        found: The largest first.
        faces: One of :data:`FACES`.
        min_size: Of the longer side of a box in pixels.
    """
    large = [face for face in found if face.size >= min_size]
    if not large:
        return f"face smaller than {min_size} px" if found else "no face"
    if faces == "one" and len(large) > 1:
        return f"{len(large)} faces, expected exactly one"
    return large if faces == "all" else large[:1]


def _read_ahead(
    root: Path, names: Sequence[str], batch_size: int
) -> Iterator[tuple[Sequence[str], list[Image.Image | str]]]:
    """Yield batches of photographs, or why one cannot be read; the next batch is read meanwhile."""

    def read(name: str) -> Image.Image | str:
        try:
            return Image.fromarray(decode_image(root / name))
        except DataError as error:
            return f"unreadable: {error}"

    with ThreadPoolExecutor() as pool:
        following = pool.map(read, names[:batch_size])
        for end in range(batch_size, len(names) + batch_size, batch_size):
            images = list(following)
            following = pool.map(read, names[end : end + batch_size])
            yield names[end - batch_size : end], images


def _search(
    detector: Detector, images: Sequence[Image.Image | str], faces: str, min_size: float
) -> Iterator[list[tuple[Image.Image, Face]] | str]:
    """Yield what is to be cut out of each photograph, or the reason why nothing is."""
    readable = [image for image in images if not isinstance(image, str)]
    found = iter(detector(readable) if readable else ())
    for image in images:
        if isinstance(image, str):
            yield image
            continue
        chosen = choose_faces(next(found), faces, min_size)
        yield chosen if isinstance(chosen, str) else [(image, face) for face in chosen]


def _cut_out(
    name: str, chosen: list[tuple[Image.Image, Face]] | str, alignment: Alignment, out: Path, base: str
) -> list[Row]:
    """Write the crops of a photograph and return its rows of the manifest."""
    if isinstance(chosen, str):
        return [reason_row(name, chosen)]
    cut: list[tuple[Face, Image.Image]] = []
    rows = []
    for image, face in chosen:
        try:
            cut.append((face, alignment(image, face)))
        except DataError as error:
            rows.append(face_row(name, "", face, f"cannot be cut out: {error}"))
    for crop, (face, picture) in zip(crop_files(base, len(cut)), cut, strict=True):
        with replacing(out / crop) as partial:
            picture.save(partial, format="PNG")
        rows.append(face_row(name, crop, face))
    return rows

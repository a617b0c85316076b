"""``manifest.csv``: what became of every photograph, and how far an interrupted run had come."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from io import StringIO
from itertools import groupby
from pathlib import Path

from eac_lightning._files import replacing
from eac_lightning.errors import DataError
from eac_lightning.faces.crop_names import crop_files
from eac_lightning.faces.detection import Face

MANIFEST = "manifest.csv"
POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
COLUMNS = (
    *("source", "crop", "x0", "y0", "x1", "y1", "confidence"),
    *(f"{point}_{axis}" for point in POINTS for axis in "xy"),
    "reason",
)

Row = dict[str, str]


def face_row(source: str, crop: str, face: Face, reason: str = "") -> Row:
    """Return the row of a face, with the reason if there is no crop of it; coordinates to a hundredth of a pixel."""
    values = [*(f"{value:.2f}" for value in face.box), f"{face.confidence:.4f}"]
    values += [f"{value:.2f}" for value in face.landmarks.ravel().tolist()]
    return dict(zip(COLUMNS, (source, crop, *values, _one_line(reason)), strict=True))


def reason_row(source: str, reason: str) -> Row:
    """Return the row of a photograph that gave no crop, the reason on one line."""
    return dict.fromkeys(COLUMNS, "") | {"source": source, "reason": _one_line(reason)}


class Manifest:
    """The rows of every photograph that is done, by its path.

    While a run is under way they are appended to a second file, ``manifest.csv.part``. When one was killed, its last
    photograph may lack rows, and is done again.

    Args:
        out: The folder of the crops.

    Raises:
        DataError: The manifest there has other columns.
    """

    def __init__(self, out: Path) -> None:
        self.path = out / MANIFEST
        self._part = out / f"{MANIFEST}.part"
        interrupted = self._part.is_file()
        self.rows = _parse(self._part if interrupted else self.path)
        self._unfinished = next(reversed(self.rows), None) if interrupted else None
        self._begun = False

    def keep(self, names: Mapping[str, str]) -> int:
        """Keep the rows of photographs that need not be done again, and remove the crops of all others.

        Done again are those of which a crop was removed, or is called otherwise now that there are other photographs.

        Args:
            names: What the crops of each photograph that is there are called, see ``plan_names``.

        Returns:
            How many photographs are gone.
        """
        before, crops = self.rows, self.crops()
        self.rows = {
            source: rows
            for source, rows in before.items()
            if source in names and source != self._unfinished and self._all_there(crops[source], names[source])
        }
        kept = {crop for some in self.crops().values() for crop in some}
        for crop in {crop for some in crops.values() for crop in some} - kept:
            self._remove(crop)
        return len(before.keys() - names.keys())

    def _all_there(self, crops: Sequence[str], base: str) -> bool:
        return crops == crop_files(base, len(crops)) and all((self.path.parent / crop).is_file() for crop in crops)

    def _remove(self, crop: str) -> None:
        """Remove a crop, and its folder with the last one: a class of which there is no picture cannot be learned."""
        path = self.path.parent / crop
        if path.resolve().is_relative_to(self.path.parent.resolve()):  # a manifest may come from anywhere
            path.unlink(missing_ok=True)
            with suppress(OSError):
                os.removedirs(path.parent)

    def crops(self) -> dict[str, list[str]]:
        """Return the crops of each photograph, relative to ``out``."""
        return {source: [row["crop"] for row in rows if row["crop"]] for source, rows in self.rows.items()}

    def add(self, photographs: Sequence[Sequence[Row]]) -> None:
        """Note the rows of photographs, one list each, after their crops are written."""
        if not self._begun:  # without the rows that are to be made again
            self._write(self._part)
            self._begun = True
        for rows in photographs:
            self.rows[rows[0]["source"]] = list(rows)
        with self._part.open("a", newline="", encoding="utf-8", errors="surrogateescape") as file:
            file.write(_text(row for rows in photographs for row in rows))

    def finish(self) -> None:
        """Write the manifest in the order of the photographs' paths."""
        self._write(self.path)
        self._part.unlink(missing_ok=True)

    def _write(self, path: Path) -> None:
        header = ",".join(COLUMNS) + "\n"
        rows = (row for source in sorted(self.rows) for row in self.rows[source])
        with replacing(path) as partial:
            partial.write_text(header + _text(rows), encoding="utf-8", errors="surrogateescape", newline="")


def _one_line(reason: str) -> str:
    return " ".join(reason.split())


def _text(rows: Iterable[Row]) -> str:
    buffer = StringIO(newline="")
    csv.DictWriter(buffer, COLUMNS, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _parse(path: Path) -> dict[str, list[Row]]:
    """Return the rows of each photograph; a last line without its end is no row."""
    if not path.is_file():
        return {}
    whole = path.read_bytes().rpartition(b"\n")[0].decode("utf-8", errors="surrogateescape")
    lines = csv.DictReader(StringIO(whole, newline=""))
    if tuple(lines.fieldnames or ()) != COLUMNS:
        raise DataError(
            f"Expected the columns {', '.join(COLUMNS)} in {path}, but found {lines.fieldnames}. Remove it."
        )
    return {source: list(rows) for source, rows in groupby(lines, key=lambda row: row["source"])}

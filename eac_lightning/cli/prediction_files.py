"""``predictions.json`` and ``predictions.csv``, written as the predictions come."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eac_lightning._files import replacing
from eac_lightning.faces.prediction import PhotoPrediction

JSON, CSV, PICTURES = "predictions.json", "predictions.csv", "pictures"

_FIGURES = ("detection_confidence", "expression", "confidence", "ood_score", "unlike")


@contextmanager
def prediction_files(folder: Path, class_names: Sequence[str]) -> Iterator[Callable[[PhotoPrediction, str], None]]:
    """Yield ``write(prediction, picture)``, where ``picture`` is the annotated one's path in ``folder``, or empty.

    The JSON is a list with an entry a photograph: ``source``, ``faces``, ``reason`` (why there is no face, or one is
    missing) and ``picture``. The CSV has a row a face, and one for a photograph without. Both are sound and hold what
    was written also where an exception or Ctrl-C ends the block.

    Args:
        folder: Where the files are written, over those of an earlier run; made if it is not there.
        class_names: The classes of the predictions, of which each gets a column ``p_<class>``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header = ["source", "face", "x0", "y0", "x1", "y1", *_FIGURES]
    header += [*(f"p_{name}" for name in class_names), "reason"]
    with (
        replacing(folder / JSON) as json_file,
        replacing(folder / CSV) as csv_file,
        json_file.open("w", encoding="utf-8") as listed,
        # A name that is no UTF-8 goes through as it is on the disk.
        csv_file.open("w", newline="", encoding="utf-8", errors="surrogateescape") as table,
    ):
        rows = csv.DictWriter(table, header)
        rows.writeheader()
        listed.write("[")
        separator = "\n"

        def write(prediction: PhotoPrediction, picture: str) -> None:
            nonlocal separator
            entry = {**prediction.to_dict(), "picture": picture}
            listed.write(separator + json.dumps(entry))
            separator = ",\n"
            rows.writerows(_rows(entry))

        failure: BaseException | None = None
        try:
            yield write
        except BaseException as error:  # what was written before it is kept
            failure = error
        listed.write("\n]\n")
    if failure is not None:
        raise failure


def remove_pictures(folder: Path) -> None:
    """Remove the annotated pictures that the ``predictions.json`` of an earlier run names, and nothing else."""
    try:
        entries = json.loads((folder / JSON).read_text(encoding="utf-8"))
        named = [Path(entry["picture"]) for entry in entries if entry["picture"]]
    except (OSError, ValueError, TypeError, KeyError):  # there is none, or it is no longer what was written
        return
    for picture in named:
        if picture.parent == Path(PICTURES):
            (folder / picture).unlink(missing_ok=True)


def _rows(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not entry["faces"]:
        yield {"source": entry["source"], "reason": entry["reason"]}
    for number, face in enumerate(entry["faces"]):
        yield {
            "source": entry["source"],
            "face": number,
            **dict(zip(("x0", "y0", "x1", "y1"), face["box"], strict=True)),
            **{name: face[name] for name in _FIGURES},
            **{f"p_{name}": value for name, value in face["probabilities"].items()},
        }

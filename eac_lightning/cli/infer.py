"""``eac infer``: the expressions of the faces in photographs, as files and as a table."""

import logging
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from eac_lightning._files import replacing
from eac_lightning.cli.prediction_files import CSV, JSON, PICTURES, prediction_files, remove_pictures
from eac_lightning.cli.training import configure_logging, import_module_of_user
from eac_lightning.data.pictures import find_pictures
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.faces.detection import FaceDetector
from eac_lightning.faces.photo import load_photo
from eac_lightning.faces.prediction import UNLIKE, UNSURE, FacePrediction, PhotoPrediction
from eac_lightning.inference import Predictor
from eac_lightning.visualization.annotated_photo import annotated_photo

ROWS = 40
"""Lines of the table on the screen, which nobody reads to the end of a thousand; the files have all."""

NAMED = 10
"""Broken pictures that are named on the screen."""

_log = logging.getLogger(__name__)


def run(arguments: Namespace) -> None:
    """Write the files, and print a table with a line a face.

    Raises:
        DataError: If there is no picture, or none that can be read.
        ConfigurationError: If the photographs lie where the annotated ones would be written.
    """
    configure_logging()
    for name in arguments.imports:
        import_module_of_user(name)
    paths = _photographs(arguments.images, arguments.out)
    predictor = Predictor.from_checkpoint(
        arguments.checkpoint,
        min_confidence=arguments.min_confidence,
        keep_unlike=arguments.keep_unlike,
        faces=arguments.faces,
        crops=arguments.crops,
        detector=FaceDetector(arguments.min_size, arguments.min_face_confidence, arguments.device),
        batch_size=arguments.batch_size,
        device=arguments.device,
        alignment=arguments.align,
    )
    console = Console()
    report = _Report()
    taken: set[str] = set()
    remove_pictures(arguments.out)
    with prediction_files(arguments.out, predictor.module.class_names) as write:
        for prediction in track(predictor.stream(paths), "reading faces", len(paths), console=console, transient=True):
            picture = ""
            if prediction.faces and not arguments.no_pictures:
                picture = _draw(prediction, arguments.out, taken)
            write(prediction, picture)
            report.add(prediction)
    report.print(console)
    for name in (JSON, CSV, *([PICTURES] if taken else [])):
        console.print(str(arguments.out / name), highlight=False, markup=False, soft_wrap=True)


def _photographs(named: Sequence[Path], out: Path) -> list[Path]:
    """Return the photographs, without those that an earlier run of this command drew."""
    found = find_pictures(named)
    drawn = (out / PICTURES).resolve()
    if not drawn.is_dir():
        return found
    paths = [path for path in found if drawn not in path.resolve().parents]
    if not paths or (len(paths) < len(found) and not (out / JSON).exists()):
        raise ConfigurationError(
            f"{out / PICTURES} holds photographs that are to be read, and it is where annotated ones are written. Name "
            "another folder with --out."
        )
    return paths


def _draw(prediction: PhotoPrediction, out: Path, taken: set[str]) -> str:
    """Write the annotated photograph and return its path in ``out``, numbered where photographs share a name.

    Of a photograph that has gone since there is none, and the path is empty.
    """
    try:
        photo = load_photo(prediction.source)
    except DataError as error:
        _log.warning("%s cannot be drawn: %s.", prediction.source, error)
        return ""
    stem = Path(prediction.source).stem
    name, number = stem, 2
    while name.lower() in taken:  # some file systems take A.jpg for a.jpg
        name, number = f"{stem}_{number}", number + 1
    taken.add(name.lower())
    path = out / PICTURES / f"{name}.jpg"
    with replacing(path) as partial:
        Image.fromarray(annotated_photo(photo, prediction.faces)).save(partial, format="JPEG", quality=90)
    return f"{PICTURES}/{path.name}"


class _Report:
    """What the screen shows of all predictions."""

    def __init__(self) -> None:
        self.table = Table()
        self.table.add_column("photograph", overflow="fold")  # what tells long paths apart is their end
        self.table.add_column("face")
        self.table.add_column("expression")
        self.table.add_column("confidence", justify="right")
        self.pictures = self.lines = self.faces = self.unsure = 0
        self.unlike: int | None = None  # not known
        self.broken: list[str] = []

    def add(self, prediction: PhotoPrediction) -> None:
        """Count a photograph, and show it while there is room."""
        source = prediction.source.encode(errors="replace").decode()  # a name that is no UTF-8 cannot be printed
        lines = [
            (Text(source), str(number), Text(_expression(face)), _confidence(face))
            for number, face in enumerate(prediction.faces)
        ] or [(Text(source), "", Text(prediction.reason), "")]
        for line in lines[: max(0, ROWS - self.lines)]:
            self.table.add_row(*line)
        self.lines += len(lines)
        self.pictures += 1
        self.faces += len(prediction.faces)
        self.unsure += sum(face.expression == UNSURE for face in prediction.faces)
        for face in prediction.faces:
            if face.unlike is not None:
                self.unlike = (self.unlike or 0) + face.unlike
        if prediction.error:
            self.broken.append(f"{source}: {prediction.error}")

    def print(self, console: Console) -> None:
        """Print the table and what it sums up to.

        Raises:
            DataError: If no picture could be read.
        """
        if len(self.broken) == self.pictures and not self.faces:
            raise DataError(self._unreadable())
        console.print(self.table)
        if self.lines > ROWS:
            console.print(f"… and {self.lines - ROWS} more lines in {CSV}", highlight=False)
        unlike = "" if self.unlike is None else f", {UNLIKE}: {self.unlike}"
        console.print(f"pictures: {self.pictures}, faces: {self.faces}, unsure: {self.unsure}{unlike}", highlight=False)
        if self.broken:
            console.print(Text(self._unreadable(), style="yellow"))

    def _unreadable(self) -> str:
        more = [f"… and {len(self.broken) - NAMED} more"] if len(self.broken) > NAMED else []
        lines = [f"{len(self.broken)} of {self.pictures} pictures could not be read:", *self.broken[:NAMED], *more]
        return "\n  ".join(lines)


def _expression(face: FacePrediction) -> str:
    marked = face.unlike and face.expression != UNLIKE  # as --keep-unlike has it
    return f"{face.expression} ({UNLIKE})" if marked else face.expression


def _confidence(face: FacePrediction) -> str:
    # A probability beside it would be read as how sure it is that the face is unlike.
    return "" if face.expression == UNLIKE else f"{100 * face.confidence:.0f} %"

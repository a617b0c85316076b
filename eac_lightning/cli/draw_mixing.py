"""``eac mixing``: what each mixing makes of a data set's faces, as a picture."""

from argparse import Namespace

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from eac_lightning.callbacks._pictures import write_png
from eac_lightning.cli.layout_options import layout_options
from eac_lightning.data.annotations import Annotations, read_annotations
from eac_lightning.data.decoding import resize_square
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.seeding import derive_seed
from eac_lightning.visualization.mixing_grid import mixing_grid

FACES = (2, 24)
SIZES = (16, 512)


def run(arguments: Namespace) -> None:
    """Write the picture and print its path.

    Raises:
        ConfigurationError: If the number of faces or their size lies outside its range, or a folder is to be written.
        DataError: If the data set cannot be read, or too few of its training faces.
    """
    for option, value, (low, high) in (("faces", arguments.faces, FACES), ("size", arguments.size, SIZES)):
        if not low <= value <= high:
            raise ConfigurationError(f"Expected --{option} from {low} to {high}, but got {value}.")
    if arguments.out.is_dir():
        raise ConfigurationError(f"Expected --out to be a file, but {arguments.out} is a folder.")
    annotations = read_annotations(arguments.root, arguments.layout, **layout_options(arguments))
    faces, labels = _choose(annotations, arguments.faces, arguments.size, arguments.seed)
    write_png(arguments.out, mixing_grid(faces, labels, annotations.class_names, arguments.seed))
    Console().print(str(arguments.out), highlight=False, soft_wrap=True)


def _choose(annotations: Annotations, count: int, size: int, seed: int) -> tuple[list[NDArray[np.uint8]], list[int]]:
    """Return training faces with their labels, one of each class before a second of any; broken ones are left out."""
    train = annotations.table[annotations.table["split"] == "train"]
    drawn = train.sample(frac=1, random_state=np.random.default_rng(derive_seed(seed, "faces")))
    faces: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for row in drawn.groupby("label").cumcount().sort_values(kind="stable").index:
        try:
            pixels = resize_square(annotations.picture(row), size)
        except DataError:
            continue
        faces.append(pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2))
        labels.append(int(train["label"][row]))
        if len(faces) == count:
            break
    if len(faces) < FACES[0]:
        raise DataError(
            f"Expected at least two training faces in {annotations.root} that can be read, but found {len(faces)}. "
            "`eac data` lists the broken ones."
        )
    return faces, labels

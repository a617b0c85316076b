"""``eac synth``: write a data set of synthetic faces."""

from argparse import Namespace

from rich.console import Console
from rich.progress import Progress

from eac_lightning.faces.synthetic import EXPRESSIONS, write_synthetic_faces


def run(arguments: Namespace) -> None:
    """Write the faces, with a progress bar, and say where they are."""
    with Progress() as bar:
        task = bar.add_task("drawing faces", total=arguments.count)
        table = write_synthetic_faces(
            arguments.out,
            count=arguments.count,
            size=arguments.size,
            seed=arguments.seed,
            variation=arguments.variation,
            classes=arguments.classes or tuple(EXPRESSIONS),
            progress=lambda done, _: bar.update(task, completed=done),
        )
    Console().print(f"{arguments.count} faces and their table: {table}", soft_wrap=True)

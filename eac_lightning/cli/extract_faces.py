"""``eac faces``: from photographs to face crops."""

from argparse import Namespace

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from eac_lightning.faces.alignment import Alignment
from eac_lightning.faces.crops import Extraction, extract_faces


def run(arguments: Namespace) -> None:
    """Write the crops, with a progress bar, and say what became of the photographs."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("finding faces", total=None)
        extraction = extract_faces(
            arguments.source,
            arguments.out,
            alignment=Alignment(arguments.align, arguments.size, arguments.margin),
            faces=arguments.faces,
            min_size=arguments.min_size,
            min_confidence=arguments.min_confidence,
            batch_size=arguments.batch_size,
            device=arguments.device,
            path_column=arguments.path_column,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    console = Console()
    console.print(_table(extraction))
    for note in (*extraction.notes, f"Crops, manifest.csv and faces.json are in {arguments.out}."):
        console.print(note, highlight=False, soft_wrap=True)


def _table(extraction: Extraction) -> Table:
    table = Table("", "", show_header=False)
    table.columns[1].justify = "right"
    before = extraction.photographs - extraction.new_photographs
    table.add_row("photographs", f"{extraction.photographs}" + (f" ({before} done before)" if before else ""))
    table.add_row("face crops", str(extraction.crops))
    for reason, count in extraction.without.items():
        table.add_row(f"  none: {reason}", str(count))
    if extraction.new_photographs:
        table.add_row("photographs/s", f"{extraction.new_photographs / extraction.seconds:.1f}")
        table.add_row("faces/s", f"{extraction.new_crops / extraction.seconds:.1f}")
    return table

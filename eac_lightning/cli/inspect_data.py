"""``eac data``: what is in a folder of faces."""

from argparse import Namespace

from rich.console import Console

from eac_lightning.cli.layout_options import layout_options
from eac_lightning.data.inspection import inspect_dataset, render_inspection


def run(arguments: Namespace) -> None:
    """Print layout, classes, splits, broken files and duplicates."""
    inspection = inspect_dataset(arguments.root, arguments.layout, near=arguments.near, **layout_options(arguments))
    Console().print(render_inspection(inspection))

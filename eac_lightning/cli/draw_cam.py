"""``eac cam``: class activation maps of pictures."""

from argparse import Namespace

from rich.console import Console

from eac_lightning.maps.draw import draw_cams


def run(arguments: Namespace) -> None:
    """Draw the panels and print their paths."""
    console = Console()
    for path in draw_cams(arguments.checkpoint, arguments.images, arguments.out, method=arguments.method):
        console.print(str(path), highlight=False, soft_wrap=True)

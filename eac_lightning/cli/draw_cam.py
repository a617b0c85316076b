"""``eac cam``: class activation maps of pictures."""

from argparse import Namespace

from rich.console import Console

from eac_lightning.cli.training import import_module_of_user
from eac_lightning.maps.draw import draw_cams


def run(arguments: Namespace) -> None:
    """Draw the panels and print their paths."""
    console = Console()
    for name in arguments.imports:
        import_module_of_user(name)
    checkpoint = arguments.checkpoint / "last.ckpt" if arguments.checkpoint.is_dir() else arguments.checkpoint
    for path in draw_cams(checkpoint, arguments.images, arguments.out, method=arguments.method):
        console.print(str(path), highlight=False, soft_wrap=True)

"""``eac cam``: class activation maps of pictures, of one checkpoint or of several side by side."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from eac_lightning._files import check_out_folder
from eac_lightning.cli.training import import_module_of_user
from eac_lightning.errors import ConfigurationError
from eac_lightning.maps.draw import draw_cams, draw_cams_beside


def run(arguments: Namespace) -> None:
    """Draw the panels and print their paths."""
    console = Console()
    for name in arguments.imports:
        import_module_of_user(name)
    check_out_folder(arguments.out)
    how = (arguments.images, arguments.out, arguments.method, arguments.limit)
    if arguments.beside:
        written = draw_cams_beside(_by_title([arguments.checkpoint, *arguments.beside]), *how)
    else:
        written = draw_cams(_checkpoint_in(arguments.checkpoint), *how)
    for path in written:
        console.print(str(path), highlight=False, soft_wrap=True)


def _checkpoint_in(path: Path) -> Path:
    return path / "last.ckpt" if path.is_dir() else path


def _by_title(named: Sequence[Path]) -> dict[str, Path]:
    """Return checkpoints by the titles of their columns: ``TITLE=PATH``, else the run's folder and ``best`` of it.

    Raises:
        ConfigurationError: If two have the same title.
    """
    found: dict[str, Path] = {}
    for given in named:
        title, equals, rest = str(given).partition("=")
        checkpoint = _checkpoint_in(Path(rest) if equals and not given.exists() else given)
        if not equals or given.exists():
            run = checkpoint.resolve().parent.name
            title = run if checkpoint.stem == "last" else f"{run} {checkpoint.stem}"
        if title in found:
            raise ConfigurationError(
                f"Expected a title of its own for each checkpoint, but both {found[title]} and {checkpoint} are "
                f"{title!r}. Give one as TITLE={checkpoint}."
            )
        found[title] = checkpoint
    return found

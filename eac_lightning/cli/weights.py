"""``eac weights``: what each backbone can begin from, and any file of weights as ``.safetensors``."""

from argparse import Namespace

from rich.console import Console
from rich.table import Table

from eac_lightning.errors import ConfigurationError
from eac_lightning.models.published import PUBLISHED, PublishedWeights, cache_folder


def run(arguments: Namespace) -> None:
    """Show the published weights, or convert ``arguments.source`` to ``arguments.target``."""
    if arguments.action == "list":
        _list(Console())
    else:
        _convert(arguments, Console())


def _list(console: Console) -> None:
    table = Table("backbone", "weights", "file", "input", "licence", box=None)
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for published in PUBLISHED:
        table.add_row(published.backbone, published.name, _state(published), published.input, published.licence)
    table.add_row("torchvision's", "DEFAULT …", "downloads", "ImageNet's mean and std", "BSD-3-Clause")
    table.add_row("timm/NAME", "pretrained, a tag", "downloads", "each its own", "each its own")
    table.add_row("any", "PATH", "yours", "the backbone's", "—")
    console.print(table)
    console.print("\nPATH: .safetensors, a torch file, or a pickle of numpy arrays; none is executed.", highlight=False)
    console.print("downloads: at first use. to fetch: by hand, from the page below.", highlight=False)
    console.print(f"Published files are looked for in {cache_folder()}:", soft_wrap=True, highlight=False)
    for published in PUBLISHED:
        console.print(f"{published.file}  {published.source}", soft_wrap=True, highlight=False)


def _state(published: PublishedWeights) -> str:
    if published.path.is_file():
        return "here"
    return "downloads" if published.downloadable else "to fetch"


def _convert(arguments: Namespace, console: Console) -> None:
    source, target = arguments.source, arguments.target
    if target.suffix != ".safetensors":
        raise ConfigurationError(f"Expected a file to write that ends in .safetensors, but got {target}.")
    if target.exists() and not arguments.force:
        raise ConfigurationError(f"{target} exists already. Name another file, or replace it with --force.")
    from eac_lightning.models.weights import convert_weights  # torch takes seconds, and the list must not wait for it

    tensors = convert_weights(source, target)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    console.print(f"{target}  {len(tensors)} tensors, {numbers:,} numbers", soft_wrap=True, highlight=False)
    for key in list(tensors)[:3]:
        console.print(f"  {key} {tuple(tensors[key].shape)}", soft_wrap=True, highlight=False, markup=False)

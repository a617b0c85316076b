"""``eac data pack``: write a data set as shards."""

from argparse import Namespace
from math import isfinite

from rich.console import Console
from rich.progress import Progress

from eac_lightning.cli.layout_options import layout_options
from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.shards.pack import pack
from eac_lightning.errors import ConfigurationError


def run(arguments: Namespace) -> None:
    """Write the shards, with a progress bar, and say what is in them.

    Raises:
        ConfigurationError: If a shard is to have no number of megabytes.
    """
    if not isfinite(arguments.shard_mb):
        raise ConfigurationError(f"Expected --shard-mb as a number up to 2000, but got {arguments.shard_mb}.")
    options = layout_options(arguments)
    annotations = read_annotations(arguments.root, arguments.layout, on_bad_image=arguments.on_bad_image, **options)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("packing faces", total=None)
        manifest = pack(
            annotations,
            arguments.out,
            size=arguments.size,
            quality=arguments.quality,
            shard_bytes=int(arguments.shard_mb * 1e6),
            seed=arguments.seed,
            on_bad_image=arguments.on_bad_image,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    lines = list(manifest.notes)
    for split, shards in manifest.splits.items():
        faces, size = sum(shard.faces for shard in shards), sum(shard.bytes for shard in shards)
        counts = zip(manifest.class_names, manifest.class_counts(split).tolist(), strict=True)
        each = ", ".join(f"{name} {count}" for name, count in counts)
        lines.append(f"{split}: {faces} faces in {len(shards)} shards, {size / 1e6:.1f} MB ({each}).")
    Console().print("\n".join([*lines, f"Written to {arguments.out}."]), soft_wrap=True, markup=False, highlight=False)

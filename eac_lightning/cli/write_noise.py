"""``eac noise``: draw noisy labels and write them to a file that reproduces them."""

from argparse import Namespace

from rich.console import Console

from eac_lightning.cli.layout_options import layout_options
from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.label_changes import change_labels
from eac_lightning.errors import ConfigurationError
from eac_lightning.labels.instance_noise import InstanceNoise
from eac_lightning.labels.noise import LabelNoise, PairNoise, SymmetricNoise
from eac_lightning.labels.noise_file import write_noise_file


def run(arguments: Namespace) -> None:
    """Write the file and say what was changed and how to use it.

    Raises:
        ConfigurationError: If the file exists, or an option is given that another kind of noise has.
    """
    if arguments.out.exists():
        raise ConfigurationError(
            f"{arguments.out} exists already, and a run may depend on it. Name another file with --out, or remove it."
        )
    annotations = read_annotations(arguments.root, arguments.layout, **layout_options(arguments))
    noisy = change_labels(annotations, None, _noise(arguments), arguments.seed)
    write_noise_file(arguments.out, noisy.table, noisy.class_names)
    console = Console()
    for note in noisy.notes:
        console.print(note, highlight=False)
    console.print(
        f"{arguments.out}  (use it: --data.noise NoiseFile --data.noise.path {arguments.out})", highlight=False
    )


def _noise(arguments: Namespace) -> LabelNoise:
    if arguments.probabilities is not None and arguments.kind != "instance":
        raise ConfigurationError("--probabilities goes with --kind instance; other noise does not look at the faces.")
    if arguments.kind == "symmetric":
        return SymmetricNoise(arguments.rate, exact=arguments.exact)
    if arguments.exact:
        raise ConfigurationError("--exact goes with --kind symmetric; other noise is drawn label by label.")
    if arguments.kind == "instance":
        return InstanceNoise(arguments.rate, arguments.probabilities)
    return PairNoise(arguments.rate)

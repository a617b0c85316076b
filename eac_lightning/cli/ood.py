"""``eac ood``: how well a network tells pictures that are not like its training data, by every score."""

import logging
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from eac_lightning._files import check_out_folder
from eac_lightning.answering import Answering
from eac_lightning.audit.observe import prepared
from eac_lightning.batch import to_float_rgb
from eac_lightning.callbacks._after_training import joined, say
from eac_lightning.cli.ood_files import PICTURE, name_some, print_report, write_files
from eac_lightning.cli.training import configure_logging, import_module_of_user
from eac_lightning.data.datamodule import FERDataModule
from eac_lightning.data.decoding import resize_square
from eac_lightning.data.pictures import list_pictures, printable, spread_over
from eac_lightning.errors import CheckpointError, ConfigurationError, DataError
from eac_lightning.faces.detection import check_device
from eac_lightning.faces.photo import load_photo
from eac_lightning.modules import load_module
from eac_lightning.modules.agreement import numbered
from eac_lightning.modules.base import FERModule
from eac_lightning.ood import (
    OOD_SCORES,
    KNearestNeighbours,
    Mahalanobis,
    OODScore,
    RelativeMahalanobis,
    ood_report,
    threshold_at,
)

logger = logging.getLogger("eac_lightning")

Values = Mapping[str, Mapping[str, Tensor]]
"""The (N,) scores of pictures, by score and by "in" and "out"."""


class Seen(NamedTuple):
    """Pictures that could be read, why others could not, and what the network says of the former."""

    pictures: list[Path]
    unreadable: list[str]
    features: Tensor
    logits: Tensor


def run(arguments: Namespace) -> None:
    """Print the table; write figures, the scores of every picture, and a picture of how they are spread.

    Raises:
        EACError: If the checkpoint has no statistics, or folders or options are not what they should be.
    """
    configure_logging()
    for name in arguments.imports:
        import_module_of_user(name)
    _check(arguments)
    roots: dict[str, Path] = {"in": arguments.inside, "out": arguments.outside}
    paths = {place: _pictures(root, arguments.limit) for place, root in roots.items()}
    checkpoint = arguments.checkpoint / "last.ckpt" if arguments.checkpoint.is_dir() else arguments.checkpoint
    module = load_module(checkpoint).to(arguments.device)
    if not module.hparams["normalize"]:
        raise ConfigurationError(
            f"{checkpoint} was trained with normalize=False: how its images were normalised is known to its "
            "DataModule alone."
        )
    scores = _fit(arguments, module) if arguments.fit else _stored(module.answers, checkpoint)
    console = Console()
    seen = {place: _see(roots[place], paths[place], module, arguments.batch_size, console) for place in roots}
    values = {
        name: {place: score.score(getattr(of, score.reads)) for place, of in seen.items()}
        for name, score in _with_logit_scores(scores).items()
    }
    found = {
        "checkpoint": str(checkpoint),
        "statistics": str(arguments.fit or checkpoint),
        **{
            place: {"folder": printable(str(roots[place])), "pictures": len(of.pictures), "unreadable": of.unreadable}
            for place, of in seen.items()
        },
        **_figures(values),
        "infer": None if arguments.fit else _refused(module.answers, values),
    }
    write_files(arguments.out, found, {place: of.pictures for place, of in seen.items()}, values)
    print_report(console, found, arguments.out)


def features_and_logits(module: FERModule, image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (N, C) features and (N, K) logits of (N, 3, H, W) images, on the CPU, from one pass."""
    with torch.no_grad():
        logits, _, features = module.logits_maps_and_features(
            to_float_rgb(image).to(module.device, module.dtype)  # type: ignore[arg-type]
        )
    return features.float().cpu(), logits.float().cpu()


def _check(arguments: Namespace) -> None:
    """Refuse what would fail only after the work, or mislead."""
    inside, outside, out = (path.resolve() for path in (arguments.inside, arguments.outside, arguments.out))
    if inside.is_relative_to(outside) or outside.is_relative_to(inside):
        raise ConfigurationError(
            f"Expected two folders apart, but {arguments.inside} and {arguments.outside} are the same, or one lies in "
            "the other: its pictures would count as both."
        )
    if out.is_relative_to(inside) or out.is_relative_to(outside):
        raise ConfigurationError(
            f"{arguments.out / PICTURE} would be among the pictures that are read. Name another folder with --out."
        )
    check_out_folder(arguments.out)
    for name in ("batch_size", "limit"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ConfigurationError(f"Expected --{name.replace('_', '-')} to be at least 1, but got {value}.")
    check_device(arguments.device)


def _pictures(root: Path, limit: int | None) -> list[Path]:
    return spread_over([root / name for name in list_pictures(root)], limit)


def _stored(answers: Answering | None, checkpoint: Path) -> Mapping[str, OODScore]:
    """Return the scores that training left in the checkpoint."""
    if answers is None or not answers.ood:
        raise CheckpointError(
            f"{checkpoint} holds no statistics of what the network was trained on, which scores compare with. Make "
            f"a copy that does (eac calibrate {checkpoint}), train with OODCallback "
            "(--trainer.callbacks+=eac_lightning.OODCallback), or have them taken now: --fit ROOT, the data set that "
            "it was trained on."
        )
    return answers.ood


def _fit(arguments: Namespace, module: FERModule) -> Mapping[str, OODScore]:
    """Return scores fitted on the training split of a data set, as validation would see it.

    Raises:
        DataError: If none can be.
    """
    named = module.class_names != numbered(module.num_classes)
    data = FERDataModule(
        arguments.fit,
        arguments.layout,
        classes=list(module.class_names) if named else None,
        image_size=module.image_size or 224,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
    )
    data.setup("fit")
    known = joined(say(module, prepared(data, module), "features"))
    fitted: dict[str, OODScore] = {}
    for name, score in (
        ("relative_mahalanobis", RelativeMahalanobis(arguments.shrinkage)),
        ("mahalanobis", Mahalanobis(arguments.shrinkage)),
        ("knn", KNearestNeighbours()),
    ):
        try:
            fitted[name] = score.fit(known.values, known.label)
        except (DataError, ConfigurationError) as error:  # the others may ask for less
            logger.warning("%s is left out. %s (--shrinkage S)", name, error)
    if not fitted:
        raise DataError(
            f"No score can be fitted on the {len(known.label)} training faces of {arguments.fit}, as was said. Name "
            "the whole data set that the network was trained on."
        )
    return fitted


def _with_logit_scores(fitted: Mapping[str, OODScore]) -> dict[str, OODScore]:
    """Return the scores in their usual order, with those that need no statistics."""
    scores = {name: kind() for name, kind in OOD_SCORES.items() if kind.reads == "logits"} | dict(fitted)
    return {name: scores[name] for name in (*OOD_SCORES, *scores) if name in scores}


def _see(root: Path, paths: Sequence[Path], module: FERModule, batch_size: int, console: Console) -> Seen:
    """Ask the network about pictures, which are crops of faces already.

    Raises:
        DataError: If none can be read.
    """
    read: list[Path] = []
    unreadable: list[str] = []
    said: list[tuple[Tensor, Tensor]] = []
    # Pictures differ in size where the module has none to bring them to.
    step = batch_size if module.image_size else 1
    starts = range(0, len(paths), step)
    for start in track(starts, f"reading {printable(str(root))}", console=console, transient=True):
        crops = []
        for path in paths[start : start + step]:
            try:
                pixels = np.asarray(load_photo(path))
            except DataError as error:
                unreadable.append(printable(f"{path}: {error}"))
                continue
            crops.append(resize_square(pixels, module.image_size) if module.image_size else pixels)
            read.append(path)
        if crops:
            said.append(features_and_logits(module, torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)))
    if not said:
        raise DataError(f"None of the pictures in {root} can be read:\n{name_some(unreadable)}")
    features, logits = (torch.cat(parts) for parts in zip(*said, strict=True))
    return Seen(read, unreadable, features, logits)


def _figures(values: Values) -> dict[str, Any]:
    """Return the figures of every score, and which is the best."""
    figures = {
        name: {**ood_report(of["in"], of["out"]), "threshold": threshold_at(of["in"])} for name, of in values.items()
    }
    return {"scores": figures, "best": max(figures, key=lambda name: figures[name]["auroc"])}


def _refused(answers: Answering | None, values: Values) -> dict[str, Any] | None:
    """Return what ``eac infer`` would refuse, where the checkpoint has a score and a threshold for it."""
    if answers is None or answers.ood_score is None or answers.ood_threshold is None:
        return None
    refused = {
        place: float((of > answers.ood_threshold).double().mean()) for place, of in values[answers.ood_score].items()
    }
    return {"score": answers.ood_score, "threshold": answers.ood_threshold, "refused": refused}

"""``eac calibrate``: give a checkpoint what training can store with it, temperature and out-of-distribution scores."""

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

from eac_lightning._lightning import L
from eac_lightning.answering import Answering
from eac_lightning.audit.observe import as_validated, prepared
from eac_lightning.audit.run import FinishedRun
from eac_lightning.callbacks._after_training import ON_TEST, Said, joined, say
from eac_lightning.callbacks.calibration import CalibrationCallback, calibration_figures, in_words
from eac_lightning.callbacks.ood import OODCallback
from eac_lightning.cli.training import configure_logging, import_module_of_user
from eac_lightning.data.datamodule import FERDataModule
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.faces.detection import check_device
from eac_lightning.models.weights import read_checkpoint
from eac_lightning.modules.agreement import check_agreement, numbered, told_class_names, told_image_size
from eac_lightning.modules.base import FERModule
from eac_lightning.modules.checkpoint import ANSWERING, CHECKPOINT_KEY
from eac_lightning.modules.loading import load_module
from eac_lightning.ood import OOD_SCORES
from eac_lightning.runs.checkpoints import write_checkpoint
from eac_lightning.runs.folder import CONFIG

CALIBRATED = "calibrated.ckpt"


def run(arguments: Namespace) -> None:
    """Write a copy of the checkpoint that knows its limits, and print them.

    Raises:
        EACError: If checkpoint and data do not fit, there are no validation faces, or what decides cannot be fitted.
    """
    configure_logging()
    for name in arguments.imports:
        import_module_of_user(name)
    check_device(arguments.device)
    calibration = CalibrationCallback(arguments.accuracy)
    ood = OODCallback(arguments.score, arguments.shrinkage)
    path = arguments.checkpoint / "last.ckpt" if arguments.checkpoint.is_dir() else arguments.checkpoint
    out = _out(arguments.out or path.with_name(CALIBRATED), path)
    module = load_module(path).to(arguments.device)
    data = _data(arguments, path.parent, module)
    validation = {reads: _validation(data, module, reads) for reads in ("features", "logits")}
    training = {reads: joined(say(module, prepared(data, module), reads)) for reads in _read_by(arguments.score)}
    found = calibration.conclude(validation["logits"], path.name)
    found |= ood.conclude({reads: (said, validation[reads]) for reads, said in training.items()}, path.name)
    if found["ood_score"] is None:
        raise ConfigurationError(
            f"{arguments.score} cannot decide which faces are not like the training data, as was said, and nothing was "
            "written. Let another score decide, such as --score knn, or give more faces."
        )
    answers = Answering(**found)
    _write(path, out, answers)
    faces = len(validation["logits"].label)
    lines = [in_words(calibration_figures(validation["logits"], answers), faces)]
    if answers.ood_score is not None:
        lines.append(ood.in_words(answers, faces))
    Console().print("\n".join([*lines, str(out)]), markup=False, highlight=False, soft_wrap=True)


def _out(out: Path, checkpoint: Path) -> Path:
    if out.is_dir() or out.resolve() == checkpoint.resolve():
        raise ConfigurationError(
            f"Expected --out to be a new file, but {out} is {'a folder' if out.is_dir() else 'the checkpoint itself'}."
        )
    return out


def _data(arguments: Namespace, folder: Path, module: FERModule) -> L.LightningDataModule:
    """Return the run's data, from where they lie now; the data set that was named where the run is not known."""
    if arguments.root is None or (folder / CONFIG).is_file():
        # Split by another seed, they would be validated on faces that were learnt.
        layout = {} if arguments.layout == "auto" else {"layout": arguments.layout}
        data = FinishedRun(folder, arguments.root).data(**layout)
    elif not module.hparams["normalize"]:
        raise ConfigurationError(
            "The module was trained with normalize=False: how its images were normalised is known to the DataModule of "
            f"its run alone, of which there is no {CONFIG} in {folder}. Name the checkpoint in its run's folder."
        )
    else:
        named = module.class_names != numbered(module.num_classes)
        classes = list(module.class_names) if named else None
        data = FERDataModule(arguments.root, arguments.layout, classes, module.image_size or 224)
    data.prepare_data()
    check_agreement(module.class_names, module.image_size, told_class_names(data), told_image_size(data))
    data.setup("fit")
    return data


def _validation(data: L.LightningDataModule, module: FERModule, reads: str) -> Said:
    try:
        loader: Iterable[Any] = data.val_dataloader()
    except DataError as error:
        raise ConfigurationError(f"There is no validation split to calibrate on. {error}") from error
    if isinstance(data, FERDataModule) and data.validates_on_test:
        raise ConfigurationError(
            f"There is no validation split to calibrate on. {ON_TEST} Train with one split off "
            "(--data.val_fraction 0.1)."
        )
    return joined(say(module, as_validated(data, module, loader), reads))


def _read_by(score: str) -> list[str]:
    return sorted({"features", OOD_SCORES[score].reads})


def _write(path: Path, out: Path, answers: Answering) -> None:
    checkpoint: Any = read_checkpoint(path)
    checkpoint[CHECKPOINT_KEY][ANSWERING] = answers.to_dict()
    write_checkpoint(checkpoint, out)

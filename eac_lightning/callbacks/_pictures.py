"""The one place that knows how each logger takes a picture."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eac_lightning._files import replacing
from eac_lightning._lightning import L, loggers
from eac_lightning.callbacks._folder import run_folder, writes_files


def save_picture(
    trainer: L.Trainer, name: str, image: NDArray[np.uint8] | None, *, tag: str | None = None
) -> Path | None:
    """Write ``pictures/<name>.png`` into the run folder and hand the picture to every attached logger.

    TensorBoard and W&B get it as an image of the current step, MLflow as an artifact; others have no way to
    take one, and the file is all there is. Every rank must call it; only rank zero's picture counts.

    Args:
        trainer: The trainer of the run.
        name: The file's name, without its ending.
        image: (H, W, 3), or None where there is nothing to write.
        tag: What loggers call it, where they keep one picture a step under one name; ``name`` if left out.

    Returns:
        The file, or None where nothing was written.
    """
    path = run_folder(trainer) / "pictures" / f"{name}.png"
    if image is None or not writes_files(trainer):
        return None
    write_png(path, image)
    for logger in trainer.loggers:
        _log_picture(logger, tag or name, image, path, trainer.global_step)
    return path


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an (H, W, 3) picture, whole or not at all."""
    with replacing(path) as partial:
        Image.fromarray(image).save(partial, format="PNG", optimize=True)


def _log_picture(logger: object, tag: str, image: NDArray[np.uint8], path: Path, step: int) -> None:
    if isinstance(logger, loggers.TensorBoardLogger):
        logger.experiment.add_image(tag, image, step, dataformats="HWC")
    elif isinstance(logger, loggers.WandbLogger):
        logger.log_image(key=tag, images=[image], step=step)
    elif isinstance(logger, loggers.MLFlowLogger):
        logger.experiment.log_artifact(logger.run_id, str(path), "pictures")

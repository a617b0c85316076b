"""``faces.json``: how the crops of a folder were made. Light, since data modules read it too."""

import json
import logging
from pathlib import Path
from typing import Any

from eac_lightning._files import replacing
from eac_lightning.data.splits import canonical_split
from eac_lightning.errors import ConfigurationError, DataError

SETTINGS_FILE = "faces.json"

logger = logging.getLogger("eac_lightning")


def claim_folder(out: Path, settings: dict[str, Any]) -> None:
    """Write ``settings`` into ``out``, or make sure that it is the folder of an earlier run with the same ones.

    Raises:
        ConfigurationError: The earlier run had other settings.
        DataError: The folder holds something else than crops.
    """
    path = out / SETTINGS_FILE
    if path.is_file():
        before = _read(path)
        changed = [name for name in (before | settings) if before.get(name) != settings.get(name)]
        if changed:
            listed = "; ".join(f"{name}: {before.get(name)}, now {settings.get(name)}" for name in changed)
            raise ConfigurationError(
                f"The crops in {out} were made with other settings ({listed}). Give the same ones to go on, or "
                "name another folder."
            )
        return
    # Hidden is also what a run leaves that was killed while it wrote just this file.
    foreign = not out.is_dir() or any(not entry.name.startswith(".") for entry in out.iterdir())
    if out.exists() and foreign:
        raise DataError(
            f"Crops are written into a new or empty folder, or one that has a {SETTINGS_FILE}, but {out} exists and "
            "has none. Name another folder."
        )
    with replacing(path) as partial:
        partial.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_alignment(root: Path) -> dict[str, Any] | None:
    """Return how the pictures of a data set were cut out, as ``Alignment.to_dict`` says it; None if unknown.

    A ``faces.json`` that is damaged or not from ``eac faces`` leaves it unknown, with a warning: training needs it not.

    Args:
        root: The data set's folder or table. The folder may be what ``eac faces`` wrote, or a folder in it, or hold
            what it wrote for each split.
    """
    folder = root.expanduser().resolve()
    folder = folder.parent if folder.is_file() else folder
    near = [path for path in (folder / SETTINGS_FILE, folder.parent / SETTINGS_FILE) if path.is_file()]
    try:
        found = [_read(path)["alignment"] for path in near[:1] or _of_splits(folder)]
    except DataError as error:
        logger.warning("%s How these faces were cut out is therefore unknown.", error)
        return None
    if any(alignment != found[0] for alignment in found):
        logger.warning("The folders in %s hold faces that were cut out in different ways.", folder)
        return None
    return found[0] if found else None


def _of_splits(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = (entry / SETTINGS_FILE for entry in folder.iterdir() if canonical_split(entry.name))
    return [file for file in files if file.is_file()]


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict) or not isinstance(settings.get("alignment"), dict):
            raise TypeError("there is no alignment in it")  # noqa: TRY301 one message for all
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"Expected the settings of face crops in {path}, but it cannot be read: {error}.") from error
    return settings

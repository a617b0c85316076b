"""Class folders, with or without folders for the splits above them."""

from pathlib import Path

from eac_lightning.data.emotions import matching_classes, natural_key
from eac_lightning.data.layouts.base import Options, Rows, make_table
from eac_lightning.data.pictures import PICTURE_ENDINGS, files_below, folder_entries, is_picture
from eac_lightning.data.splits import canonical_split
from eac_lightning.errors import DataError

NEEDS = "{train,val,test}/<class>/… or <class>/…, pictures in class folders"


def recognise(root: Path, options: Options) -> str:
    """Say which folders hold pictures."""
    del options
    splits = _split_folders(root)
    if "train" in splits:
        return f"class folders in {', '.join(f'{folder}/' for folder in splits.values())}"
    filled = [name for name in _subfolders(root) if any(is_picture(file) for file in files_below(root, name))]
    shown = ", ".join(f"{name}/" for name in filled[:8]) + (", …" if len(filled) > 8 else "")
    return f"flat class folders {shown}" if filled else ""


def read(root: Path, options: Options) -> Rows:
    """Read ``{train,val,test}/<class>/…`` in the usual spellings, or flat class folders.

    Classes are the union over the splits, in natural order; rows are sorted by path.

    Raises:
        DataError: There is no class folder, a class folder holds no picture, or two folders are one split.
    """
    if not root.is_dir():
        raise DataError(f"Expected a folder of class folders, but {root} is a file.")
    splits = _split_folders(root)
    tops = {f"{folder}/": split for split, folder in splits.items()} or {"": ""}
    rows: list[tuple[str, str, str]] = []
    empty: list[str] = []
    others = 0
    for top, split in tops.items():
        for name in _subfolders(root / top):
            files = list(files_below(root, top + name))
            pictures = [file for file in files if is_picture(file)]
            others += len(files) - len(pictures)
            rows += [(path, name, split) for path in pictures]
            if not pictures and (options.classes is None or matching_classes(name, options.classes)):
                empty.append(top + name)
    if empty:
        raise DataError(
            f"Expected pictures ({' '.join(PICTURE_ENDINGS)}) in every class folder of {root}, but there is "
            f"none in {', '.join(empty)}. Add pictures or remove the folder."
        )
    if not rows:
        raise DataError(f"Expected {NEEDS} in {root}, but found no class folder.")
    rows.sort()
    names = sorted({name for _, name, _ in rows}, key=natural_key)
    code = {name: position for position, name in enumerate(names)}
    table = make_table(
        path=[path for path, _, _ in rows],
        label=[code[name] for _, name, _ in rows],
        split=[split for _, _, split in rows],
    )
    notes = []
    if splits and (ignored := [name for name in _subfolders(root) if name not in splits.values()]):
        notes.append(f"Ignored folders beside the splits: {', '.join(ignored)}.")
    if others:
        notes.append(f"Ignored {others} files in class folders that are no pictures by their ending.")
    return Rows(root, table, tuple(names), tuple(notes))


def _split_folders(root: Path) -> dict[str, str]:
    """Return the folder of each split that has one."""
    found: dict[str, str] = {}
    for name in _subfolders(root):
        split = canonical_split(name)
        if split in found:
            raise DataError(f"Expected one folder for {split} in {root}, but found {found[split]} and {name}.")
        if split:
            found[split] = name
    return found


def _subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones and links that lead back up."""
    if not folder.is_dir():
        return []
    home = folder.resolve()
    names = sorted(entry.name for entry in folder_entries(folder) if Path(entry).is_dir())
    return [name for name in names if not home.is_relative_to((folder / name).resolve())]

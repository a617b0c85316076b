"""Every entry of the corpus: read, left out with a reason, or refused in a sentence; nothing else happens."""

import faulthandler
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from eac_lightning import FERDataModule
from eac_lightning.cli import main
from eac_lightning.data.decoding import decode_image
from eac_lightning.errors import EACError
from tests.hostile.corpus import EITHER, LEFT_OUT, READ, REFUSED, SECRET, Entry, class_folders, snapshot
from tests.hostile.pictures import PICTURES
from tests.hostile.places import PLACES
from tests.hostile.tables import FER2013, FERPLUS, RAFDB, TABLES, tabled

# Each entry with what makes a sound data set for it, and how many pictures can be read at least.
CORPUS = [
    *((entry, class_folders, 12) for entry in (*PICTURES, *PLACES)),
    *((entry, tabled, 2) for entry in TABLES),
    *((entry, Path.mkdir, 21) for entry in (*FER2013, *FERPLUS, *RAFDB)),
]


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    """End the process with a traceback of every thread, should anything be waited for without end."""
    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def test_there_are_two_hundred() -> None:
    names = [str(entry) for entry, *_ in CORPUS]
    assert len(names) >= 200
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("entry", "sound", "good"), CORPUS, ids=[str(entry) for entry, *_ in CORPUS])
def test_entry(
    entry: Entry,
    sound: Callable[[Path], object],
    good: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "9999")
    root = tmp_path / "data"
    sound(root)
    entry.make(root)
    before = snapshot(tmp_path)

    error = _error(root, "error", 0)
    if entry.expected != EITHER:
        assert bool(error) == (entry.expected != READ), error
    if error:
        assert re.search(entry.says, error, re.DOTALL), error
    error = _error(root, "skip", good)
    assert bool(error) == (entry.expected == REFUSED), error
    if entry.centre:
        pixels = decode_image(next(root.glob("train/anger/hostile.*")))
        np.testing.assert_allclose(pixels[pixels.shape[0] // 2, pixels.shape[1] // 2], entry.centre, atol=2)

    code = main(["data", str(root), "--no-near", "--val-fraction", "0", "--test-fraction", "0"])
    printed = capsys.readouterr()
    assert code == (1 if entry.expected == REFUSED else 0)
    if entry.expected == REFUSED:
        assert printed.err.startswith("Error: ")
        assert str(root) in printed.err
    elif entry.expected == LEFT_OUT:
        assert re.search(f"Broken pictures.*({entry.says})", printed.out, re.DOTALL), printed.out
        assert "eft out" in caplog.text + printed.out
    assert "\x1b" not in printed.out + printed.err
    assert snapshot(tmp_path) == before


def _error(root: Path, policy: str, good: int) -> str:
    """Read every picture of a data set as training does; return the error, if there is one of ours."""
    data = FERDataModule(root, image_size=8, on_bad_image=policy, cache="ram", val_fraction=0, test_fraction=0)
    try:
        datasets = [data.dataset(split) for split in set(data.annotations.table["split"])]
    except EACError as error:
        return str(error)
    images = [data[range(len(data))]["image"].numpy() for data in datasets]
    assert sum(map(len, images)) >= good
    assert not any((picture == SECRET).all() for part in images for picture in part)
    return ""

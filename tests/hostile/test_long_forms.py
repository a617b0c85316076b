"""The corpus once more, through whole commands and at full size: minutes, so only with ``pytest -m slow``."""

import re
import resource
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from eac_lightning.cli import main
from eac_lightning.data.decoding import MAX_PIXELS, decode_image
from eac_lightning.errors import DataError
from tests.hostile.corpus import REFUSED, Entry, snapshot
from tests.hostile.pictures import png
from tests.hostile.test_corpus import CORPUS

pytestmark = pytest.mark.slow

ROWS = 1_000_000
READ_TABLE = """
import sys, time
from pathlib import Path
from eac_lightning.data.annotations import read_annotations

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

before = peak()
start = time.process_time()
data = read_annotations(sys.argv[1], val_fraction=0, on_bad_image="skip")
assert len(data.table) == int(sys.argv[2]), len(data.table)
print(time.process_time() - start, peak() - before)
"""


@pytest.mark.parametrize(("entry", "sound", "good"), CORPUS, ids=[str(entry) for entry, *_ in CORPUS])
def test_training_on_an_entry(
    entry: Entry,
    sound: Callable[[Path], object],
    good: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "9999")
    root = tmp_path / "data"
    sound(root)
    entry.make(root)
    before = snapshot(root.parent)
    arguments = ["fit", "--data.root", str(root), "--data.image_size", "16", "--data.val_fraction", "0"]
    arguments += ["--data.test_fraction", "0", "--data.on_bad_image", "skip", "--model.backbone", "tiny"]
    arguments += ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "0"]
    arguments += ["--trainer.accelerator", "cpu", "--trainer.default_root_dir", "run"]
    code = main([*arguments, "--trainer.enable_progress_bar", "false", "--trainer.logger", "false"])
    printed = capsys.readouterr()
    assert code == (1 if entry.expected == REFUSED else 0), printed.err
    if entry.expected == REFUSED:
        assert re.search(r"Error: .*data", printed.err, re.DOTALL)
    assert {name: what for name, what in snapshot(tmp_path).items() if "/run" not in name} == before


def test_a_million_rows(tmp_path: Path) -> None:
    """In seconds, and in a small multiple of the table's size; run with ``-s`` to see both."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for i in range(1000):
        (folder / f"{i}.png").touch()
        (tmp_path / f"d{i}").symlink_to("faces")
    with (tmp_path / "labels.csv").open("w") as file:
        file.write("path,label,split\n")
        file.writelines(f"d{i // 1000}/{i % 1000}.png,{i % 7},train\n" for i in range(ROWS))
    size = (tmp_path / "labels.csv").stat().st_size / 2**20
    command = [sys.executable, "-c", READ_TABLE, str(tmp_path), str(ROWS)]
    seconds, mebibytes = map(float, subprocess.run(command, check=True, capture_output=True).stdout.split())
    sys.stdout.write(f"\n{ROWS} rows, {size:.0f} MiB: {seconds:.1f} s of one core, {mebibytes:.0f} MiB more\n")
    assert seconds < 120
    assert mebibytes < 4096


def test_the_largest_picture_is_decoded_and_one_row_more_is_not() -> None:
    side = 8192
    whole = png(side, side, data=zlib.compress(bytes((side + 1) * side), 1))
    assert decode_image(whole).size == MAX_PIXELS
    start = time.perf_counter()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="more than 67108864 pixels"):
        decode_image(png(side, side + 1, data=zlib.compress(bytes((side + 1) * (side + 1)), 1)))
    assert time.perf_counter() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 2**10 * 200

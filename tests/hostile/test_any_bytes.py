"""Whatever a file holds or is called: a reader reads it, or refuses it with an error of ours."""

import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.decoding import decode_image
from eac_lightning.data.layouts import ferplus, rafdb
from eac_lightning.errors import EACError
from eac_lightning.labels.instance_noise import read_probabilities
from eac_lightning.labels.noise_file import read_noise_file
from eac_lightning.labels.overrides import apply_overrides
from eac_lightning.labels.transition import read_matrix
from tests.hostile.pictures import ENCODED
from tests.hostile.tables import FACE, good

NAMES = ("anger", "happiness", "sadness")
CELLS = ("path", "label", "split", "faces/0.png", "happy", "sad", "0", "-0", "3.0", "1e400", "NaN", "٣", "²", "9" * 30)
SIGNS = (",", ";", "\t", "|", "\n", "\r\n", "\r", '"', "'", "\0", "\ufeff", " ", "../", "=cmd()", "\x85", "é")


def tables(*headers: str) -> st.SearchStrategy[bytes]:
    """Bytes that look like a table for a while, in several encodings, and any bytes."""
    words = st.sampled_from((*CELLS, *SIGNS, *headers)) | st.text(max_size=4)
    text = st.builds(lambda head, body: head + "".join(body), st.sampled_from(("", *headers)), st.lists(words))
    coding = st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"))
    return st.binary() | st.builds(lambda t, c: t.encode(c, "ignore"), text, coding)


def _written(file: Path, content: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def _table(folder: Path, content: bytes) -> None:
    read_annotations(_written(folder / "labels.csv", content), "table", on_bad_image="skip")


def _parquet(folder: Path, content: bytes) -> None:
    read_annotations(_written(folder / "labels.parquet", content), "table")


def _fer2013(folder: Path, content: bytes) -> None:
    read_annotations(_written(folder / "fer2013.csv", content).parent, "fer2013", on_bad_image="skip")


def _ferplus(folder: Path, content: bytes) -> None:
    _written(folder / "fer2013.csv", f"emotion,pixels,Usage\n0,{FACE},Training\n".encode())
    read_annotations(_written(folder / "fer2013new.csv", content).parent, "ferplus")


def _rafdb(folder: Path, content: bytes) -> None:
    _written(folder / rafdb.LABELS, content)
    read_annotations(folder, "rafdb", on_bad_image="skip")


def _auto(folder: Path, content: bytes) -> None:
    read_annotations(_written(folder / "labels.csv", content).parent, on_bad_image="skip")


def _corrections(folder: Path, content: bytes) -> None:
    table = read_annotations(_sound(folder / "sound"), val_fraction=0, test_fraction=0).table
    apply_overrides(table, _written(folder / "fixes.csv", content), NAMES)


def _sound(folder: Path) -> Path:
    if not folder.exists():
        _written(folder / "labels.csv", good().encode())
        for i in range(6):
            _written(folder / f"faces/{i}.png", ENCODED["png"]())
    return folder


def _noise(folder: Path, content: bytes) -> None:
    read_noise_file(_written(folder / "noise.csv", content), ["faces/0.png"], NAMES)


def _probabilities(folder: Path, content: bytes) -> None:
    read_probabilities(_written(folder / "p.csv", content), ["faces/0.png"], NAMES)


def _matrix(ending: str) -> Callable[[Path, bytes], None]:
    def read(folder: Path, content: bytes) -> None:
        read_matrix(str(_written(folder / f"matrix{ending}", content)))

    return read


def _named(folder: Path, name: bytes) -> None:
    """A class folder, and a picture in it, of any name that the file system takes."""
    name = name.replace(b"/", b"").replace(b"\0", b"")[:200] or b"x"
    root = folder / sha256(name).hexdigest()
    for place in (root / "happy", root / os.fsdecode(b"c" + name)):
        _written(place / os.fsdecode(name + b".png"), ENCODED["png"]())
    read_annotations(root, "folder", on_bad_image="skip", val_fraction=0, test_fraction=0)


def _picture(folder: Path, content: bytes) -> None:
    del folder
    assert decode_image(content).dtype == np.uint8


def _damaged_pictures() -> st.SearchStrategy[bytes]:
    whole = st.sampled_from([make() for make in ENCODED.values()])
    wrong = st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=8)

    def damage(content: bytes, changes: list[tuple[int, int]], end: int) -> bytes:
        damaged = bytearray(content)
        for at, value in changes:
            damaged[at % len(damaged)] = value
        return bytes(damaged[: max(1, len(damaged) - end)])

    return st.binary() | st.builds(damage, whole, wrong, st.integers(0, 400))


VOTES = f"Usage,Image name,{','.join(ferplus.COLUMNS)}\n"
READERS: dict[str, tuple[Callable[[Path, bytes], None], st.SearchStrategy[bytes]]] = {
    "table": (_table, tables("path,label\n", good(), "path,label,split,votes_happy\n")),
    "whatever it is": (_auto, tables("path,label\n", good())),
    "parquet": (_parquet, st.binary() | st.binary().map(lambda content: b"PAR1" + content + b"PAR1")),
    "fer2013": (_fer2013, tables("emotion,pixels,Usage\n", f"emotion,pixels\n0,{FACE}", "0 0 ")),
    "ferplus": (_ferplus, tables(VOTES, VOTES + "Training,x,1,2")),
    "rafdb": (_rafdb, tables("train_0.jpg 1\n", "train_", "test_1.jpg ")),
    "corrections": (_corrections, tables("path,label,action,given\n", "path,label\nfaces/0.png,happy\n")),
    "noise": (_noise, tables("path,label\n", "path,label\nfaces/0.png,anger\n", "0.png 1\n")),
    "probabilities": (_probabilities, tables("path,p_anger,p_happy,p_sad\nfaces/0.png,0.5,0.5,0", "path,p_anger\n")),
    "matrix csv": (_matrix(".csv"), tables("1,0\n0,1\n")),
    "matrix json": (_matrix(".json"), tables("[[1]]", "[[", "{")),
    "matrix npy": (_matrix(".npy"), st.binary().map(lambda content: b"\x93NUMPY\x01\x00\x20\x00" + content)),
    "name": (_named, st.binary(max_size=200) | st.text(max_size=60).map(lambda text: text.encode(errors="ignore"))),
    "picture": (_picture, _damaged_pictures()),
}


def hunt(name: str, folder: Path, examples: int) -> None:
    reader, contents = READERS[name]

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(contents)
    def reads_or_refuses(content: bytes) -> None:
        with suppress(EACError):
            reader(folder, content)

    reads_or_refuses()


@pytest.mark.filterwarnings("ignore:.*input contained no data", "ignore:.*DecompressionBomb", "ignore::UserWarning")
@pytest.mark.parametrize("name", READERS)
def test_any_bytes_are_read_or_refused(tmp_path: Path, name: str) -> None:
    hunt(name, tmp_path, 40)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*input contained no data", "ignore:.*DecompressionBomb", "ignore::UserWarning")
@pytest.mark.parametrize("name", READERS)
def test_many_bytes_are_read_or_refused(tmp_path: Path, name: str) -> None:
    hunt(name, tmp_path, 2000)

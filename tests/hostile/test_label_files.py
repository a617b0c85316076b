"""Corrections, noise files, matrices and checkpoints that are damaged, made for something else, or would run."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from eac_lightning import FERDataModule, NoiseFile, TransitionNoise
from eac_lightning.cli import main
from eac_lightning.errors import CheckpointError, DataError, EACError
from eac_lightning.modules.loading import load_module
from tests.hostile.corpus import class_folders, encode, noise, snapshot
from tests.hostile.pictures import Runs

GOOD = "path,label\ntrain/anger/0.png,neutral\n"

CORRECTIONS = {
    "mark of order": (b"\xef\xbb\xbf" + GOOD.encode(), ""),
    "lines of Windows": (GOOD.replace("\n", "\r\n").encode(), ""),
    "semicolons": (GOOD.replace(",", ";").encode(), ""),
    "UTF-16": (GOOD.encode("utf-16"), ""),
    "empty": (b"", "Cannot read the label table .*fixes"),
    "header alone": (b"path,label\n", ""),
    "no label": (b"path\ntrain/anger/0.png\n", "Expected the columns path and label"),
    "two labels": (GOOD.replace("label", "label,label").encode(), "more than once"),
    "a field more": (GOOD.encode() + b"train/anger/1.png,fear,x\n", "expected 2 fields in line 3, .* found 3. Remove"),
    "a short line": (GOOD.encode() + b"train/anger/1.png\n", "none of the classes"),
    "an open quote": (GOOD.encode() + b'"train', "a double quote in line 3 is never closed"),
    "latin-1": (GOOD.encode() + b"\xe9,anger\n", "UTF-8.* line 3"),
    "NUL": (GOOD.encode() + b"\0,anger\n", "NUL in line 3"),
    "a picture": (encode(noise()), "Cannot read the label table"),
    "NaN": (GOOD.encode() + b"train/anger/1.png,NaN\n", "none of the classes"),
    "1e400": (GOOD.encode() + b"train/anger/1.png,1e400\n", "none of the classes"),
    "a formula": (GOOD.encode() + b"=cmd(),anger\n", "not in the data set"),
    "a path outside": (GOOD.encode() + b"../outside/secret.png,anger\n", "not in the data set"),
    "5000 digits": (GOOD.encode() + b"train/anger/1.png," + b"9" * 5000 + b"\n", "none of the classes"),
}


@pytest.mark.parametrize(("content", "says"), CORRECTIONS.values(), ids=CORRECTIONS)
def test_corrections(tmp_path: Path, content: bytes, says: str) -> None:
    root = class_folders(tmp_path / "data")
    (tmp_path / "fixes.csv").write_bytes(content)
    data = FERDataModule(root, label_overrides=str(tmp_path / "fixes.csv"))
    if says:
        with pytest.raises(DataError, match=f"(?s){says}"):
            _ = data.annotations
    else:
        assert len(data.annotations.table) == 12


NOISE = {
    "empty": b"",
    "header alone": b"path,label\n",
    "latin-1": b"path,label\n\xe9,anger\n",
    "NUL": b"path,label\n\0,anger\n",
    "UTF-16 of another": "path,label\nx,anger\n".encode("utf-16"),
    "a field more": b"path,label\ntrain/anger/0.png,anger,x\n",
    "an open quote": b'path,label\n"train/anger/0.png',
    "a list without classes": b"train_1.jpg\n",
    "a class of another alphabet": "train_1.jpg ٣\n".encode(),
    "a picture": encode(noise()),
    "a picture twice": b"train_1.jpg 1\ntrain_1.jpg 1\n",
}


@pytest.mark.parametrize("content", NOISE.values(), ids=NOISE)
def test_noise_files(tmp_path: Path, content: bytes) -> None:
    root = class_folders(tmp_path / "data")
    (tmp_path / "noise.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"noise.csv"):
        _ = FERDataModule(root, noise=NoiseFile(str(tmp_path / "noise.csv"))).annotations


def _huge_array(path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000, 10000000), }\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)


MATRICES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "empty array": (".npy", lambda path: path.write_bytes(b"")),
    "cut array": (".npy", lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x76")),
    "array beyond memory": (".npy", _huge_array),
    "pickle": (".npy", lambda path: path.write_bytes(pickle.dumps(Runs()))),
    "array of objects": (".npy", lambda path: np.save(path, np.array([Runs()], object), allow_pickle=True)),
    "zip": (".npy", lambda path: np.savez(path.open("wb"), a=np.eye(3))),
    "nested lists": (".json", lambda path: path.write_text("[" * 100_000)),
    "number beyond floats": (".json", lambda path: path.write_text("[[1" + "0" * 400 + "]]")),
    "1e400": (".json", lambda path: path.write_text("[[1e400]]")),
    "NaN": (".json", lambda path: path.write_text("[[NaN]]")),
    "dict": (".json", lambda path: path.write_text('{"a": 1}')),
    "ragged": (".json", lambda path: path.write_text("[[1], [0, 1]]")),
    "wrong UTF-8": (".json", lambda path: path.write_bytes(b"\xff")),
    "empty csv": (".csv", lambda path: path.write_bytes(b"")),
    "csv of text": (".csv", lambda path: path.write_text("=cmd(),1\n0,1\n")),
    "csv in UTF-16": (".csv", lambda path: path.write_text("1,0\n0,1\n", encoding="utf-16")),
    "unknown ending": (".pkl", lambda path: path.write_bytes(pickle.dumps(Runs()))),
}


@pytest.mark.filterwarnings("ignore:.*input contained no data")
@pytest.mark.parametrize(("ending", "make"), MATRICES.values(), ids=MATRICES)
def test_matrices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, make: Callable[[Path], object]) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / f"matrix{ending}")
    before = snapshot(tmp_path)
    with pytest.raises(EACError, match="matrix"):
        TransitionNoise(str(tmp_path / f"matrix{ending}"))
    assert snapshot(tmp_path) == before


def _zip_of(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_pkl", ".pkl"), content)


CHECKPOINTS: dict[str, Callable[[Path], object]] = {
    "zero bytes": lambda path: path.write_bytes(b""),
    "one byte": lambda path: path.write_bytes(b"P"),
    "text": lambda path: path.write_text("epoch: 3\n"),
    "html": lambda path: path.write_text("<html>404</html>"),
    "a picture": lambda path: path.write_bytes(encode(noise())),
    "zip of nothing": lambda path: _zip_of(path),
    "zip of something else": lambda path: _zip_of(path, readme=b"hello"),
    "zip with a pickle that runs": lambda path: _zip_of(path, archive__version=b"3\n", archive__data_pkl=pickle.dumps(Runs())),
    "zip bomb": lambda path: _zip_of(path, archive__version=b"3\n", archive__data_pkl=bytes(10**8)),
    "pickle that runs": lambda path: path.write_bytes(pickle.dumps(Runs())),
    "torch file that runs": lambda path: torch.save({"state_dict": Runs()}, path),
    "other program": lambda path: torch.save({"model": torch.zeros(3), "optimizer": {}}, path),
    "state dict alone": lambda path: torch.save({"layer.weight": torch.zeros(3)}, path),
    "list": lambda path: torch.save([1, 2], path),
    "names another class": lambda path: torch.save({"eac_lightning": {"class_path": "os.system"}, "state_dict": {}}, path),
    "names nothing": lambda path: torch.save({"eac_lightning": {}, "state_dict": {}}, path),
    "names a module of ours": lambda path: torch.save({"eac_lightning": {"class_path": "eac_lightning.nothing.X"}, "state_dict": {}}, path),
    "names a class without settings": lambda path: torch.save({"eac_lightning": {"class_path": "eac_lightning.modules.eac.EACModule"}, "state_dict": {}}, path),
    "numbers for names": lambda path: torch.save({"eac_lightning": {"class_path": 3}, "state_dict": {}}, path),
    "json": lambda path: path.write_text(json.dumps({"state_dict": {}})),
    "folder": lambda path: path.mkdir(),
    "nothing": lambda path: None,
}  # fmt: skip


@pytest.mark.parametrize("make", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], make: Callable[[Path], object]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "9999")
    root = class_folders(tmp_path / "data")
    make(tmp_path / "some.ckpt")
    before = snapshot(tmp_path)
    with pytest.raises(CheckpointError, match="some.ckpt"):
        load_module(tmp_path / "some.ckpt")
    assert main(["cam", "some.ckpt", str(root / "train/anger/0.png")]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("Error: ")
    assert "some.ckpt" in printed
    assert snapshot(tmp_path) == before


def test_a_checkpoint_that_is_cut(tmp_path: Path) -> None:
    torch.save({"eac_lightning": {"class_path": "x"}, "state_dict": {"a": torch.zeros(1000)}}, tmp_path / "whole.ckpt")
    whole = (tmp_path / "whole.ckpt").read_bytes()
    for percent in range(5, 100, 5):
        (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) * percent // 100])
        with pytest.raises(CheckpointError, match="cut.ckpt"):
            load_module(tmp_path / "cut.ckpt")

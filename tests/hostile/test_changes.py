"""What changes between listing and reading, what may not be read, and what comes back as it went out."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from eac_lightning import FERDataModule
from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.decoding import decode_image
from eac_lightning.data.pictures import files_below, list_pictures
from eac_lightning.data.unlabelled import read_unlabelled
from eac_lightning.errors import DataError
from eac_lightning.labels.noise import NoiseFile, SymmetricNoise
from eac_lightning.labels.noise_file import write_noise_file
from tests.hostile.corpus import SECRET, class_folders, encode, noise
from tests.hostile.places import UNWRITABLE, WRITABLE, named
from tests.hostile.tables import good, tabled


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Path.unlink, "no such file"),
        (lambda path: path.write_bytes(b""), "not a picture"),
        (lambda path: path.write_bytes(path.read_bytes()[:90]), "cannot be decoded|truncated|not a picture"),
        (_folder, "not an ordinary file|directory"),
        (_pipe, "not an ordinary file"),
    ],
    ids=["vanishes", "is emptied", "is cut", "becomes a folder", "becomes a pipe"],
)
def test_a_picture_that_changes_after_it_was_listed(
    tmp_path: Path, change: Callable[[Path], None], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = class_folders(tmp_path / "data")
    strict, lenient = (FERDataModule(root, image_size=8, on_bad_image=policy) for policy in ("error", "skip"))
    assert strict.num_classes == lenient.num_classes == 3
    change(root / "train/anger/1.png")
    with pytest.raises(DataError, match=f"1 of 6 pictures cannot be read:\n  train/anger/1.png: .*({reason})"):
        strict.dataset("train")
    assert len(lenient.dataset("train")) == 5
    assert "train/anger/1.png" in caplog.text


def test_a_picture_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def forbid(path: str, *more: int) -> int:
        if str(path).endswith("anger/1.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *more)

    root = class_folders(tmp_path / "data")
    monkeypatch.setattr(os, "open", forbid)  # root may read everything, so that no mode of a file would stop it
    with pytest.raises(DataError, match=r"train/anger/1.png: .*Permission denied"):
        FERDataModule(root, image_size=8).dataset("train")
    assert len(FERDataModule(root, image_size=8, on_bad_image="skip").dataset("train")) == 5


def test_a_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = os.scandir

    def forbid(path: Path) -> object:
        if str(path).endswith("anger"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    root = class_folders(tmp_path / "data")
    monkeypatch.setattr(os, "scandir", forbid)
    for policy in ("error", "skip"):
        with pytest.raises(DataError, match=r"list the folder .*/anger, but that fails: Permission denied"):
            read_annotations(root, on_bad_image=policy)
    with pytest.raises(DataError, match=r"list the folder .*/anger, but that fails: Permission denied"):
        list_pictures(root)


def test_a_table_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    root = tabled(tmp_path / "data")
    (root / "labels.csv").write_text(good())
    monkeypatch.setattr(Path, "read_bytes", forbid)
    with pytest.raises(DataError, match=r"Cannot read the table .*labels.csv: Permission denied"):
        read_annotations(root)


def test_a_data_set_that_cannot_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", forbid)
    with pytest.raises(DataError, match=r"Cannot read the data set in .*data \(PermissionError: .*Permission denied"):
        read_annotations(tmp_path / "data")


def test_folders_a_thousand_deep(tmp_path: Path) -> None:
    """Deeper than Python calls functions; removed here, because its own removal does not reach that deep."""
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("deep.png", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    try:
        assert [name.rpartition("/")[2] for name in files_below(tmp_path)] == ["deep.png"]
    finally:
        while (tmp_path / "d").exists():  # half of what is left at a time
            half = tmp_path / "d/".join([""] * 300) / "d"
            if half.exists():
                half.rename(tmp_path / "lower")
                shutil.rmtree(tmp_path / "d")
                (tmp_path / "lower").rename(tmp_path / "d")
            else:
                shutil.rmtree(tmp_path / "d")


@pytest.mark.parametrize("name", ["data\n", os.fsdecode(b"data\xff")])
def test_a_data_set_whose_own_path_cannot_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"Paths of data sets .*rename them \(1\): .*data\\(n|udcff)\.$"):
        read_annotations(class_folders(tmp_path / name))


def test_what_leads_out_is_read_where_that_is_allowed(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data")
    (root / "train/anger/secret.png").symlink_to("../../../outside/secret.png")
    (root / "train/fear").symlink_to("../../outside")
    data = read_annotations(root, allow_outside=True)
    assert {"train/anger/secret.png", "train/fear/secret.png"} <= set(data.table["path"])
    (tmp_path / "table").mkdir()
    root = tabled(tmp_path / "table" / "data")
    (root.parent / "outside" / "labels.csv").write_text(good(more="../outside/secret.png,sad\n"))
    (root / "labels.csv").symlink_to("../outside/labels.csv")
    data = read_annotations(root, allow_outside=True, val_fraction=0, test_fraction=0)
    assert data.table["path"].tolist()[-1] == "../outside/secret.png"
    assert (data.picture(6) == SECRET).all()


def test_unlabelled_faces_that_lead_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = class_folders(tmp_path / "data")
    (root / "train/secret.png").symlink_to("../../outside/secret.png")
    (root / os.fsdecode(b"\xff.png")).write_bytes(b"")
    images = read_unlabelled(root, 8, "ram", "skip")
    assert len(images) == 12
    assert not any((image == SECRET).all() for image in images)
    assert "Left out 1 links that lead out of" in caplog.text
    assert r"\udcff.png: not a picture" in caplog.text
    assert len(read_unlabelled(root, 8, "ram", "skip", allow_outside=True)) == 13


def test_names_come_back_as_they_went_out(tmp_path: Path) -> None:
    """Through noise files, corrections, Parquet and CSV, whatever can be written down."""
    root = class_folders(tmp_path / "data")
    for name in (*WRITABLE, *UNWRITABLE):
        named(name, "").make(root)
    data = FERDataModule(root, image_size=8, on_bad_image="skip", noise=SymmetricNoise(0.5), seed=1)
    table = data.annotations.table
    assert len(data.annotations.left_out) == len(UNWRITABLE)
    assert len(table) == 12 + len(WRITABLE)

    write_noise_file(tmp_path / "noise.csv", table, data.class_names)
    replayed = FERDataModule(root, image_size=8, on_bad_image="skip", noise=NoiseFile(str(tmp_path / "noise.csv")))
    assert replayed.annotations.table["label"].tolist() == table["label"].tolist()

    corrections = pd.DataFrame({"path": table["path"], "label": "neutral", "action": "change"})
    corrections.to_csv(tmp_path / "fixes.csv", index=False)
    fixed = FERDataModule(root, on_bad_image="skip", label_overrides=str(tmp_path / "fixes.csv")).annotations
    assert set(fixed.table["label"]) == {fixed.class_names.index("neutral")}

    table.to_parquet(tmp_path / "all.parquet")
    assert pd.read_parquet(tmp_path / "all.parquet")["path"].tolist() == table["path"].tolist()
    ("".join(table["path"])).encode()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DataError, match="not an ordinary file"):
        decode_image(tmp_path / "pipe.jpg")


def test_the_whole_limit_can_be_decoded() -> None:
    assert decode_image(encode(noise((1, 1)).resize((4096, 2048)))).shape == (2048, 4096)

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eac_lightning.data import split_faces as split_faces_module
from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.decoded_anew import DecodedAnew
from eac_lightning.data.split_faces import SplitFaces
from eac_lightning.errors import ConfigurationError, DataError
from tests.data.painting import count_decoding

MakeFolder = Callable[..., Path]


def split_faces(root: Path, **options: object) -> SplitFaces:
    return SplitFaces(read_annotations(root), root, 8, **options)  # type: ignore[arg-type]


def test_a_split_is_read_once_and_each_when_it_is_asked_for(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = split_faces(make_folder({"train": 3, "val": 2, "test": 1}))
    seen = count_decoding(monkeypatch)
    assert len(faces.dataset("val")) == len(seen) == 6
    faces.read(["train", "val"])
    assert len(seen) == 15
    assert faces.dataset("val") is faces.dataset("val")
    split_faces(faces.root).read(["train", "val"])
    assert len(seen) == 15


def test_nothing_is_decoded_before_it_is_drawn(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = split_faces(make_folder(), cache="none")
    seen = count_decoding(monkeypatch)
    dataset = faces.dataset("train")
    assert isinstance(dataset.images, DecodedAnew)
    assert not seen
    stored = split_faces(faces.root, cache="ram").dataset("train")
    seen.clear()
    assert (dataset[[4, 2]]["image"] == stored[[4, 2]]["image"]).all()
    assert dataset[3]["label"] == stored[3]["label"]
    assert len(seen) == 3


def test_what_is_bad_is_not_known_before_it_is_drawn(make_folder: MakeFolder) -> None:
    with pytest.raises(ConfigurationError, match="not cache='none', but 'auto', 'ram' or 'disk'"):
        split_faces(make_folder(), cache="none", on_bad_image="skip")


def test_bad_pictures_are_left_out_also_of_a_file(make_folder: MakeFolder) -> None:
    root = make_folder({"train": 3, "val": 2, "test": 1})
    (root / "train/anger/001.png").write_bytes(b"nothing")
    for _ in range(2):
        faces = split_faces(root, on_bad_image="skip")
        train = faces.dataset("train")
        assert len(train) == len(train.labels) == 8
        paths = faces.annotations.table["path"].iloc[train[list(range(8))]["index"].numpy()]
        assert "train/anger/001.png" not in set(paths)
        with pytest.raises(DataError, match=r"1 of 9 .*(.|\n)*train/anger/001.png: not a picture"):
            split_faces(root).dataset("train")


def test_a_split_that_is_missing_is_named(make_folder: MakeFolder) -> None:
    with pytest.raises(DataError, match="no test split, only train, val"):
        split_faces(make_folder({"train": 3, "val": 2})).dataset("test")


def test_all_rows_are_predicted_and_none_is_held_out_without_folds(make_folder: MakeFolder) -> None:
    faces = split_faces(make_folder({"train": 4, "val": 2}))
    assert faces.rows("predict").tolist() == list(range(18))
    assert not len(faces.rows("held_out"))
    folded = split_faces(faces.root, folds=2, fold=1)
    assert sorted(np.concatenate([folded.rows("train"), folded.rows("held_out")])) == faces.rows("train").tolist()


def test_the_folds_of_a_split_share_one_store(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({"train": 4, "val": 2})
    seen = count_decoding(monkeypatch)
    whole = split_faces(root).dataset("train")
    for fold in range(3):
        faces = split_faces(root, folds=3, fold=fold)
        for split in ("train", "held_out"):
            rows = faces.rows(split)
            batch = faces.dataset(split)[list(range(len(rows)))]
            assert batch["index"].tolist() == rows.tolist()
            at = [whole.columns["index"].tolist().index(row) for row in rows]
            assert (batch["image"] == whole[at]["image"]).all()
    assert len(seen) == 12


def test_the_faces_to_train_on_are_drawn_once(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    reduce = split_faces_module.reduce_training
    monkeypatch.setattr(split_faces_module, "reduce_training", lambda *args: seen.append(1) or reduce(*args))
    faces = split_faces(make_folder(), per_class=6, folds=3)
    faces.read(["train", "held_out", "val"])
    faces.summary()
    assert len(seen) == 1
    assert len(faces.rows("train")) + len(faces.rows("held_out")) == 18

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eac_lightning import FERDataModule, SymmetricNoise
from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.duplicates import Copies, Look, leave_out_duplicates, look_at
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.types import LEFT_OUT
from tests.data.test_perceptual_hash import compressed, photograph

# Name in a split and class: (number of the photograph, quality it was compressed with).
FACES = {
    "test/anger/a": (0, None),
    "test/anger/b": (1, None),
    "test/fear/c": (2, None),
    "train/anger/0_like_test": (0, 80),
    "train/anger/1_like_val": (3, 80),
    "train/anger/2": (4, None),
    "train/anger/3_same": (4, None),
    "train/anger/4_near": (4, 80),
    "train/anger/5": (5, None),
    "train/fear/0_same_as_test": (2, None),
    "train/fear/1_other_label": (4, None),
    "train/fear/2": (6, None),
    "val/anger/a": (3, None),
    "val/fear/b_like_test": (1, 80),
}
DROPPED = ["0_like_test", "1_like_val", "3_same", "4_near", "0_same_as_test", "1_other_label"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, (seed, quality) in FACES.items():
        path = tmp_path / f"faces/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = photograph(seed)
        Image.fromarray(pixels if quality is None else compressed(pixels, quality)).save(path)
    return tmp_path / "faces"


def left_out(table: pd.DataFrame) -> list[str]:
    return [Path(path).stem for path in table.loc[table["split"] == LEFT_OUT, "path"]]


def test_training_loses_what_is_judged_and_what_it_has_already(root: Path) -> None:
    before = read_annotations(root)
    after = leave_out_duplicates(before)
    assert left_out(after.table) == DROPPED
    kept = after.table["split"] != LEFT_OUT
    pd.testing.assert_frame_equal(after.table[kept], before.table[kept])
    assert after.notes[-2:] == (
        "Left out of training 3 pictures that val or test has too, the same or nearly, and 3 that repeat another "
        "training picture.",
        "1 val pictures are in test too, the same or nearly; both splits stay whole.",
    )


def test_without_duplicates_nothing_changes(root: Path) -> None:
    for stem in DROPPED:
        next(root.rglob(f"{stem}.png")).unlink()
    Image.fromarray(photograph(9)).save(root / "val/fear/b_like_test.png")
    before = read_annotations(root)
    after = leave_out_duplicates(before)
    pd.testing.assert_frame_equal(after.table, before.table)
    assert after.notes[len(before.notes) :] == (
        "Left out of training 0 pictures that val or test has too, the same or nearly, and 0 that repeat another "
        "training picture.",
    )


def test_what_corrections_dropped_neither_counts_nor_is_read(root: Path) -> None:
    annotations = read_annotations(root)
    split = annotations.table["split"].mask(annotations.table["path"] == "train/anger/2.png", LEFT_OUT)
    next(root.rglob("2.png")).write_bytes(b"no picture")
    annotations = replace(annotations, table=annotations.table.assign(split=split))
    assert (
        left_out(leave_out_duplicates(annotations).table)
        == [
            *DROPPED[:2],
            "2",  # by the corrections; the next of its copies stays
            *DROPPED[3:],
        ]
    )


def test_pictures_that_cannot_be_read_stay(root: Path) -> None:
    for name in ("train/anger/2", "train/fear/2", "test/fear/c"):
        (root / f"{name}.png").write_bytes(b"no picture")
    looks = look_at(read_annotations(root), range(len(FACES)))
    assert [look.reason for look in looks if look.reason] == ["not a picture in a known format"] * 3
    after = leave_out_duplicates(read_annotations(root))
    assert left_out(after.table) == ["0_like_test", "1_like_val", "4_near", "1_other_label"]


def test_the_data_module_leaves_them_out(root: Path) -> None:
    def module(duplicates: str) -> FERDataModule:
        return FERDataModule(root, image_size=48, seed=0, noise=SymmetricNoise(0.5), duplicates=duplicates)

    keep, drop = module("keep"), module("drop")
    assert len(keep.dataset("train")) == 9
    train = drop.dataset("train")
    index = train.columns["index"].tolist()
    assert [Path(drop.annotations.table["path"][row]).stem for row in index] == ["2", "5", "2"]
    assert train.labels.tolist() == keep.annotations.table["label"][index].tolist()
    assert np.array_equal(drop.dataset("test").columns["index"], keep.dataset("test").columns["index"])
    assert len(drop.dataset("predict")) == len(FACES)
    assert "Left out of training 3" in drop.summary()
    assert "train: 3 (" in drop.summary()


def test_a_class_that_has_only_duplicates_is_an_error(root: Path) -> None:
    (root / "train/fear/2.png").unlink()
    with pytest.raises(DataError, match="no face of the classes fear, after corrections, without duplicates"):
        FERDataModule(root, image_size=48, duplicates="drop").dataset("train")


def test_another_wish_is_refused(root: Path) -> None:
    with pytest.raises(ConfigurationError, match="Unknown duplicates 'dropp'.*drop"):
        FERDataModule(root, duplicates="dropp")


def test_pixels_of_a_table(tmp_path: Path) -> None:
    faces = [photograph(seed) for seed in (0, 1, 0, 1, 2)]
    faces[3] = compressed(faces[3], 80)
    usage = ["Training", "Training", "PrivateTest", "Training", "Training"]
    rows = [
        f"{i % 2},{' '.join(map(str, face.ravel()))},{name}\n"
        for i, (face, name) in enumerate(zip(faces, usage, strict=True))
    ]
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "".join(rows))
    options = {"classes": ["anger", "disgust"], "val_fraction": 0, "image_size": 48}
    train = FERDataModule(tmp_path, duplicates="drop", **options).dataset("train")
    assert train.columns["index"].tolist() == [1, 4]


def test_sets_without_a_picture() -> None:
    copies = Copies.among([Look(reason="gone"), Look(reason="gone")])
    assert copies.sets() == copies.sets(near=True) == []
    assert Copies.among([]).sets(near=True) == []


@given(st.integers(1, 8), st.data())
def test_sets_and_choices_against_naive_ones(count: int, data: st.DataObject) -> None:
    extra = data.draw(st.lists(st.integers(0, count - 1), max_size=6))
    picture = [*range(count), *extra]  # each occurs, first in order
    every = [(i, j) for i in range(count) for j in range(i + 1, count)]
    near = sorted(data.draw(st.sets(st.sampled_from(every)))) if every else []
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=len(picture), max_size=len(picture))))
    copies = Copies(np.array(picture), np.array(near, np.int64).reshape(-1, 2))

    def alike(one: int, other: int) -> bool:
        first, second = sorted((picture[one], picture[other]))
        return first == second or (first, second) in near

    rows = range(len(picture))
    beside = [any(chosen[other] and alike(row, other) for other in rows) for row in rows]
    assert copies.beside(chosen, near=True).tolist() == beside
    reached = {row: {row} for row in rows}
    for _ in rows:
        for row in rows:
            reached[row] = {b for a in reached[row] for b in rows if alike(a, b)}
    sets = {tuple(sorted(group)) for group in reached.values() if len(group) > 1}
    assert {tuple(rows) for rows in copies.sets(near=True)} == sets
    stays: list[int] = []
    for row in sorted(np.flatnonzero(chosen), key=lambda row: (picture[row], row)):
        if not any(alike(row, other) for other in stays):
            stays.append(row)
    assert np.flatnonzero(copies.first_of_each(chosen)).tolist() == sorted(stays)

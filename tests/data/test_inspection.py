from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from eac_lightning.data.inspection import Repeats, inspect_dataset, render_inspection
from eac_lightning.errors import DataError


def draw(path: Path, value: int, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    value = iter(range(256))
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for name in ("happy", "sad"):
            for number in range(count):
                draw(tmp_path / f"{split}/{name}/{number}.png", next(value))
    return tmp_path


def rendered(root: Path, near: bool = True) -> str:
    console = Console(width=200, file=StringIO())
    with console.capture() as capture:
        console.print(render_inspection(inspect_dataset(root, near=near)))
    return capture.get()


def test_a_sound_data_set(root: Path) -> None:
    draw(root / "train/sad/wide.jpg", 77, (20, 5))
    draw(root / "train/sad/small.bmp", 78, (3, 4))
    found = inspect_dataset(root)
    assert found.layout == "folder"
    expected = pd.DataFrame({"train": [4, 6], "val": [2, 2], "test": [2, 2]}, index=["happiness", "sadness"])
    pd.testing.assert_frame_equal(found.counts, expected, check_names=False)
    assert (found.smallest, found.largest) == ((3, 4), (20, 5))
    assert found.broken == ()
    assert found.identical == found.near == Repeats((), (), (), {"val": 0, "test": 0})
    assert found.shared_subjects == ()


def test_a_class_that_a_split_lacks_counts_zero(root: Path) -> None:
    for path in (root / "val/sad").iterdir():
        path.unlink()
    (root / "val/sad").rmdir()
    assert inspect_dataset(root).counts.loc["sadness"].tolist() == [4, 0, 2]


def test_broken_pictures_are_listed_with_the_reason(root: Path) -> None:
    (root / "train/sad/0.png").write_bytes(b"no picture")
    content = (root / "test/happy/1.png").read_bytes()
    (root / "test/happy/1.png").write_bytes(content[:50])
    (root / "test/happy/0.png").write_bytes(b"")
    found = inspect_dataset(root)
    assert [path for path, _ in found.broken] == ["test/happy/0.png", "test/happy/1.png", "train/sad/0.png"]
    assert all(reason for _, reason in found.broken)
    assert found.identical.sets == ()


def test_duplicates_leaks_and_conflicts(root: Path) -> None:
    Image.new("L", (8, 8), 200).save(root / "train/sad/a.png")
    Image.new("L", (8, 8), 200).save(root / "train/sad/b.bmp")  # another format, the same pixels
    for path, value in (("train/happy/c.png", 210), ("test/happy/c.png", 210), ("test/sad/c.png", 210)):
        draw(root / path, value)
    draw(root / "val/sad/d.png", 220)
    draw(root / "test/sad/d.png", 220)
    draw(root / "train/sad/e.png", 220, (4, 16))  # as many pixels, another shape
    found = inspect_dataset(root, near=False)
    assert found.near is None
    same = found.identical
    leaks = {("test/happy/c.png", "test/sad/c.png", "train/happy/c.png"), ("test/sad/d.png", "val/sad/d.png")}
    assert set(same.sets) == leaks | {("train/sad/a.png", "train/sad/b.bmp")}
    assert set(same.leaks) == leaks
    assert same.conflicts == (("test/happy/c.png", "test/sad/c.png", "train/happy/c.png"),)
    assert same.leaked == {"val": 0, "test": 2}


def test_pictures_that_are_nearly_the_same(root: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 6), np.uint8)
    face = Image.fromarray(pixels).resize((48, 48), Image.Resampling.BICUBIC)
    face.save(root / "train/sad/face.png")
    face.save(root / "train/sad/same.bmp")
    face.save(root / "test/happy/face.jpg", quality=75)
    found = inspect_dataset(root)
    assert found.identical.sets == (("train/sad/face.png", "train/sad/same.bmp"),)
    assert found.identical.leaked == {"val": 0, "test": 0}
    alike = (("test/happy/face.jpg", "train/sad/face.png", "train/sad/same.bmp"),)
    assert found.near == Repeats(alike, alike, alike, {"val": 0, "test": 1})
    text = rendered(root)
    assert "Leaks: nearly identical pictures across splits (1)" in text
    assert "test/happy/face.jpg ≈ train/sad/face.png ≈ train/sad/same.bmp" in text
    assert "identical or nearly" in text
    assert "identical or nearly" not in rendered(root, near=False)


def test_missing_files_and_shared_subjects_of_a_table(root: Path) -> None:
    (root / "labels.csv").write_text(
        "path,label,split,subject\n"
        "train/happy/0.png,happy,train,anna\ntrain/sad/0.png,sad,train,bob\n"
        "test/sad/0.png,sad,test,bob\ntest/sad/1.png,sad,test,\ngone.png,sad,train,\n"
    )
    found = inspect_dataset(root, val_fraction=0)
    assert found.broken == (("gone.png", "no such file"),)
    assert found.shared_subjects == ("bob",)


def test_pixels_of_a_table_are_compared(tmp_path: Path) -> None:
    face = np.arange(48 * 48) % 256
    pixels = [" ".join(map(str, (face + shift) % 256)) for shift in (0, 1, 0)]
    usage = ["Training", "Training", "PrivateTest"]
    rows = [f"{i % 2},{text},{name}\n" for i, (text, name) in enumerate(zip(pixels, usage, strict=True))]
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "".join(rows) + "0,1 2,Training\n")
    found = inspect_dataset(tmp_path, classes=["anger", "disgust"], val_fraction=0)
    assert found.identical.leaks == (("fer2013.csv:2", "fer2013.csv:4"),)
    assert found.smallest == found.largest == (48, 48)
    assert found.broken[0][0] == "fer2013.csv:5"


def test_rendering_shows_counts_notes_and_faults(root: Path) -> None:
    text = rendered(root)
    assert "Layout folder: recognised, because class folders in test/, train/, val/" in text
    assert "happiness" in text
    assert "8 × 8" in text
    assert "Leaks" not in text
    for number in range(25):
        (root / f"train/sad/[b]{number}.png").write_bytes(b"x")
    draw(root / "train/sad/copy.png", 0)
    text = rendered(root)
    assert "Broken pictures (25)" in text
    assert "train/sad/[b]0.png: not a picture" in text
    assert "… and 5 more" in text
    assert "train/happy/0.png = train/sad/copy.png" in text


def test_how_far_raters_agree_stands_beside_the_counts(root: Path) -> None:
    (root / "labels.csv").write_text(
        "path,label,split,votes_happy,votes_sad,votes_angry\n"
        "train/happy/0.png,happy,train,4,0,0\ntrain/happy/1.png,happy,train,3,1,0\n"
        "train/sad/0.png,sad,train,1,3,0\ntrain/sad/1.png,angry,train,0,0,1\n"
    )
    found = inspect_dataset(root, val_fraction=0, test_fraction=0)
    assert found.agreement is not None
    assert found.agreement["faces"].tolist() == [0, 2, 1, 3]
    text = rendered(root / "labels.csv")
    assert "votes of the winner" in text
    assert "87.5%" in text
    assert "nan" not in text.split()


def test_rendering_without_a_readable_picture(root: Path) -> None:
    for path in root.rglob("*.png"):
        path.write_bytes(b"x")
    text = rendered(root)
    assert "Broken pictures (16)" in text
    assert "smallest" not in text


def test_what_is_no_data_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty"):
        inspect_dataset(tmp_path)

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eac_lightning.data.annotations import read_annotations
from eac_lightning.errors import DataError

USAGES = ("Training", "Training", "PublicTest", "PrivateTest")
EMOTIONS = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]


def faces(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 48, 48), dtype=np.uint8)


def text(image: NDArray[np.uint8]) -> str:
    return " ".join(map(str, image.ravel()))


def lines(count: int = 28) -> list[str]:
    return [f"{i // 4 % 7},{text(image)},{USAGES[i % 4]}" for i, image in enumerate(faces(count))]


def write(root: Path, rows: list[str], header: str = "emotion,pixels,Usage", name: str = "fer2013.csv") -> Path:
    (root / name).write_text("\n".join([header, *rows, ""]))
    return root


def test_pixels_labels_and_splits(tmp_path: Path) -> None:
    data = read_annotations(write(tmp_path, lines()))
    assert data.layout == "fer2013"
    assert data.class_names == tuple(EMOTIONS)
    assert data.images is not None
    assert data.images.dtype == np.uint8
    np.testing.assert_array_equal(data.images, faces(28))
    assert data.table["label"].tolist() == [i // 4 for i in range(28)]
    assert data.table["split"].tolist() == ["train", "train", "val", "test"] * 7
    assert data.table["path"].tolist() == [f"fer2013.csv:{line}" for line in range(2, 30)]
    assert data.notes == ("Layout fer2013: recognised, because fer2013.csv holds pixels.",)


def test_column_order_and_spaces_of_the_other_file(tmp_path: Path) -> None:
    rows = [f"{emotion}, {usage},{pixels}" for emotion, pixels, usage in (row.split(",") for row in lines())]
    write(tmp_path, rows, "emotion, Usage, pixels", "icml_face_data.csv")
    data = read_annotations(tmp_path)
    np.testing.assert_array_equal(data.images, faces(28))
    assert data.table["split"].tolist() == ["train", "train", "val", "test"] * 7


def test_the_file_itself_under_any_name(tmp_path: Path) -> None:
    data = read_annotations(write(tmp_path, lines(), name="part.csv") / "part.csv")
    assert (data.layout, data.root) == ("fer2013", tmp_path)
    assert data.table["path"][0] == "part.csv:2"


def test_without_usage_splits_are_drawn(tmp_path: Path) -> None:
    rows = [row.rsplit(",", 1)[0] for row in lines(70)]
    data = read_annotations(write(tmp_path, rows, "emotion,pixels"))
    assert data.table["split"].value_counts().to_dict() == {"train": 56, "val": 7, "test": 7}


def test_subset_takes_pixels_along(tmp_path: Path) -> None:
    data = read_annotations(write(tmp_path, lines()), classes=["neutral", "angry"])
    np.testing.assert_array_equal(data.images, faces(28)[[0, 1, 2, 3, 24, 25, 26, 27]])
    assert data.table["label"].tolist() == [1] * 4 + [0] * 4


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"7,{text(faces(1)[0])},Training", "an emotion from 0 to 6, but it is '7'"),
        (f"x,{text(faces(1)[0])},Training", "an emotion from 0 to 6, but it is 'x'"),
        (f"0,{text(faces(1)[0])},Sometimes", "a Usage such as Training, but it is 'Sometimes'"),
        (f"0,{text(faces(1)[0])} 9,Training", "2304 pixels, but found 2305"),
        ("0,,Training", "2304 pixels, but found 0"),
        ("0", "3 fields, but found 1"),
        (f"0,{text(faces(1)[0])[:-3]} 300,Training", "pixels from 0 to 255, but found 0 to 300"),
        (f"0,{text(faces(1)[0])} grey,Training", "pixels as numbers"),
        (f"0,{text(faces(1)[0])[:-3]} 1.5,Training", "pixels as numbers"),
    ],
)
def test_malformed_rows_are_named_by_line(tmp_path: Path, row: str, reason: str) -> None:
    rows = lines()
    write(tmp_path, [*rows[:5], row, *rows[5:]])
    with pytest.raises(DataError, match=f"1 are missing or malformed:\n  fer2013.csv:7: expected {reason}"):
        read_annotations(tmp_path)
    data = read_annotations(tmp_path, on_bad_image="skip")
    assert [path for path, _ in data.left_out] == ["fer2013.csv:7"]
    np.testing.assert_array_equal(data.images, faces(28))


def test_missing_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"columns emotion and pixels in .*, but found label, pixels"):
        read_annotations(write(tmp_path, ["0,1"], "label,pixels"))


def test_only_a_header(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only a header"):
        read_annotations(write(tmp_path, []))


def test_no_table_of_pixels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Expected fer2013\.csv or icml_face_data\.csv"):
        read_annotations(tmp_path, "fer2013")

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eac_lightning.data.annotations import read_annotations
from eac_lightning.errors import ConfigurationError, DataError

LABELS = ["happy", "sad", "happy", "angry", "sad", "angry"]


def write(root: Path, name: str = "labels.csv", separator: str = ",", **columns: object) -> Path:
    frame = pd.DataFrame({"path": [f"faces/{i}.png" for i in range(len(LABELS))], "label": LABELS})
    frame = frame.assign(**columns)
    for path in frame["path"]:
        (root / "faces").mkdir(exist_ok=True)
        (root / path).touch()
    if name.endswith("parquet"):
        frame.to_parquet(root / name)
    else:
        frame.to_csv(root / name, sep=separator, index=False, encoding="utf-8-sig")
    return root


@pytest.mark.parametrize(
    ("name", "separator"),
    [
        ("labels.csv", ","),
        ("labels.csv", ";"),
        ("labels.tsv", "\t"),
        ("annotations.csv", "\t"),
        ("mine.parquet", ""),
    ],
)
def test_formats_and_separators(tmp_path: Path, name: str, separator: str) -> None:
    write(tmp_path, name, separator, split="Train")
    data = read_annotations(tmp_path, val_fraction=0)
    assert data.layout == "table"
    assert data.class_names == ("anger", "happiness", "sadness")
    assert data.table["label"].tolist() == [1, 2, 1, 0, 2, 0]
    assert data.table["path"].tolist() == [f"faces/{i}.png" for i in range(6)]
    assert name in data.notes[0]


def test_the_file_itself_may_be_root(tmp_path: Path) -> None:
    data = read_annotations(write(tmp_path, "any.csv") / "any.csv", val_fraction=0, test_fraction=0)
    assert data.root == tmp_path
    assert data.layout == "table"


def test_every_column_under_its_own_name(tmp_path: Path) -> None:
    write(
        tmp_path,
        Partition=["Training", "Training", "Training", "Training", "PublicTest", "PrivateTest"],
        truth=["happiness", "SA", "", "sad", "-1", "contempt"],
        person=[1, 2, None, 1, 2, 3],
        clip=list("uvwxyz"),
    )
    columns = {"split": "Partition", "clean_label": "truth", "subject": "person", "group": "clip"}
    data = read_annotations(tmp_path, columns=columns)
    assert data.table["split"].tolist() == ["train"] * 4 + ["val", "test"]
    assert data.table["clean_label"].tolist() == [1, 2, -1, 2, -1, -1]
    assert data.table["clean_label"].dtype == np.int64
    assert data.table["subject"].tolist() == ["1", "2", "", "1", "2", "3"]
    assert data.table["group"].tolist() == list("uvwxyz")
    assert "Clean labels that no given label has count as unknown: contempt." in data.notes


def test_clean_labels_follow_a_subset(tmp_path: Path) -> None:
    write(tmp_path, split="train", clean_label=["sad", "sad", "angry", "sad", "happy", "angry"])
    data = read_annotations(tmp_path, classes=["sadness", "happiness"], val_fraction=0)
    assert data.table["label"].tolist() == [1, 0, 1, 0]
    assert data.table["clean_label"].tolist() == [0, 0, -1, 1]
    assert "1 clean labels are of classes that were left out, and count as unknown." in data.notes
    assert "Left out 2 rows of classes that were not asked for: angry 2." in data.notes


def test_integers_are_their_own_names(tmp_path: Path) -> None:
    write(tmp_path, label=[10, 2, 2, 0, 10, 0], clean_label=[2, None, 10, 0, 3, -1], split="train")
    data = read_annotations(tmp_path, val_fraction=0)
    assert data.class_names == ("0", "2", "10")
    assert data.table["label"].tolist() == [2, 1, 1, 0, 2, 0]
    assert data.table["clean_label"].tolist() == [1, -1, 2, 0, -1, -1]


def test_integers_can_be_chosen(tmp_path: Path) -> None:
    write(tmp_path, label=[10, 2, 2, 0, 10, 0], split="train")
    data = read_annotations(tmp_path, classes=["10", "0"], val_fraction=0)
    assert data.class_names == ("10", "0")
    assert data.table["label"].tolist() == [0, 1, 0, 1]


def test_names_given_to_integers_in_order(tmp_path: Path) -> None:
    write(tmp_path, "labels.parquet", label=[2, 1, 0, 0, 1, 2], clean_label=[0, 1, 2, 0, 1, np.nan])
    data = read_annotations(tmp_path, classes=["surprise", "angry", "HA"], val_fraction=0, test_fraction=0)
    assert data.class_names == ("surprise", "anger", "happiness")
    assert data.table["label"].tolist() == [2, 1, 0, 0, 1, 2]
    assert data.table["clean_label"].tolist() == [0, 1, 2, 0, 1, -1]


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (
            [0, 1, 2, 7, 7, 0],
            ["sad", "happy", "fear"],
            r"from 0 to 2, one for each of sad, happy, fear, .* found 7 in 2",
        ),
        ([0, 1, -2, 1, 1, 0], None, r"of 0 or above, .* found -2 in 1 rows"),
    ],
)
def test_labels_outside_the_classes(tmp_path: Path, labels: list[int], classes: list[str] | None, message: str) -> None:
    write(tmp_path, label=labels)
    with pytest.raises(DataError, match=message):
        read_annotations(tmp_path, classes=classes)


def test_rows_without_a_label_are_counted(tmp_path: Path) -> None:
    write(tmp_path, label=["happy", "", "happy", "sad", "sad", " "], split="train")
    data = read_annotations(tmp_path, val_fraction=0)
    assert data.table["path"].tolist() == [f"faces/{i}.png" for i in (0, 2, 3, 4)]
    assert data.table.index.tolist() == [0, 1, 2, 3]
    assert "Left out 2 rows of labels.csv without a label." in data.notes


def test_a_table_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\n")
    with pytest.raises(DataError, match="No labelled picture is left"):
        read_annotations(tmp_path)


def test_table_wins_over_class_folders(tmp_path: Path) -> None:
    write(tmp_path, split="train")
    data = read_annotations(tmp_path, val_fraction=0)
    assert data.layout == "table"
    assert "labels.csv is there, which comes before folder (flat class folders faces/)" in data.notes[0]


def test_missing_files_are_listed(tmp_path: Path) -> None:
    write(tmp_path, split="train")
    for number in (1, 3):
        (tmp_path / f"faces/{number}.png").unlink()
    with pytest.raises(DataError, match=r"2 are missing(.|\n)*faces/1.png: no such file\n  faces/3.png") as caught:
        read_annotations(tmp_path)
    assert "more" not in str(caught.value)
    data = read_annotations(tmp_path, val_fraction=0, on_bad_image="skip")
    assert data.left_out == (("faces/1.png", "no such file"), ("faces/3.png", "no such file"))
    assert data.table["path"].tolist() == [f"faces/{i}.png" for i in (0, 2, 4, 5)]
    assert "Left out 2 pictures that are missing or malformed." in data.notes


def test_many_missing_files_are_counted(tmp_path: Path) -> None:
    rows = "".join(f"{i}.png,{i % 2}\n" for i in range(30))
    (tmp_path / "labels.csv").write_text("path,label\n" + rows)
    with pytest.raises(DataError, match=r"30 are missing(.|\n)*19\.png: no such file\n  … and 10 more"):
        read_annotations(tmp_path)
    with pytest.raises(DataError, match=r"No labelled picture is left.*Left out 30 pictures"):
        read_annotations(tmp_path, on_bad_image="skip")


def test_missing_column_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,labels,age\nx.png,happy,3\n")
    with pytest.raises(DataError, match=r"column 'label' for the label in .*Did you mean 'labels'.*age, labels, path"):
        read_annotations(tmp_path)
    with pytest.raises(DataError, match="column 'emotion' for the label"):
        read_annotations(tmp_path, columns={"label": "emotion"})
    with pytest.raises(DataError, match="column 'person' for the subject"):
        read_annotations(tmp_path, columns={"label": "labels", "subject": "person"})


def test_unknown_role(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"role of a column 'labels'.*'label'"):
        read_annotations(write(tmp_path), columns={"labels": "x"})


def test_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train, val and test in .*labels.csv, but found fold1, fold2"):
        read_annotations(write(tmp_path, split=["fold1"] * 3 + ["fold2"] * 3))


def test_empty_path(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\n,happy\n")
    with pytest.raises(DataError, match=r"a path in every row of .*, but 1 have none"):
        read_annotations(tmp_path)


def test_a_picture_in_two_rows(tmp_path: Path) -> None:
    rows = ["a.png,happy", "b.png,sad", "a.png,sad", " b.png,sad", "c.png,sad"]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    with pytest.raises(DataError, match=r"one label a picture in .*labels.csv.* votes_<.*\(2\): a.png, b.png\."):
        read_annotations(tmp_path)


def test_a_row_without_a_label_is_no_second_one(tmp_path: Path) -> None:
    write(tmp_path, path=["faces/0.png"] * 2 + [f"faces/{i}.png" for i in range(2, 6)], label=["", *LABELS[1:]])
    assert len(read_annotations(tmp_path, val_fraction=0, test_fraction=0).table) == 5


@pytest.mark.parametrize("content", [b"", b"\xfa,label\n", b'path,label\n"x,1\n'])
@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet"])
def test_unreadable_table(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"Cannot read the table .*labels\.(csv|parquet)"):
        read_annotations(tmp_path)


def test_which_table_must_be_clear(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet")
    write(tmp_path, "b.parquet")
    with pytest.raises(DataError, match=r"found a\.parquet, b\.parquet\. Give the file itself"):
        read_annotations(tmp_path, "table")
    write(tmp_path, "annotations.csv")
    assert "annotations.csv" in read_annotations(tmp_path, val_fraction=0, test_fraction=0).notes[0]


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one of labels\.csv.*found none"):
        read_annotations(tmp_path, "table")


@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet"])
def test_columns_of_votes(tmp_path: Path, name: str) -> None:
    happy = [6, 0, 5, 1, 0, 0]
    votes = {"votes_Happiness": happy, "votes_joy": 1, "votes_sad": [1, 4, 0, 0, 5, 0], "votes_unknown": 2}
    data = read_annotations(write(tmp_path, name, **votes, split="train"), val_fraction=0)
    assert data.votes is not None
    assert data.votes.dtype == np.int32
    # Two spellings of one class are one class, and nobody was asked about anger.
    assert data.votes.T.tolist() == [[0] * 6, [count + 1 for count in happy], [1, 4, 0, 0, 5, 0]]
    assert "Votes for what is no class do not count: votes_unknown." in data.notes
    assert "Fleiss' kappa" in data.notes[-1]


def test_votes_follow_their_rows(tmp_path: Path) -> None:
    labels = ["sad", "", "happy", "angry", "sad", "happy"]
    write(tmp_path, label=labels, votes_sad=[3, 9, 1, 0, "", 2], votes_happy=[0, 9, 2, 0, 1, 4], split="train")
    data = read_annotations(tmp_path, classes=["sad", "happy"], val_fraction=0)
    assert data.table["label"].tolist() == [0, 1, 0, 1]
    assert data.votes is not None
    assert data.votes.tolist() == [[3, 0], [1, 2], [0, 1], [2, 4]]


def test_votes_for_numbered_classes(tmp_path: Path) -> None:
    write(tmp_path, label=[1, 0, 1, 0, 1, 0], votes_0=range(6), votes_sad=0, split="train")
    data = read_annotations(tmp_path, classes=["happy", "sad"], val_fraction=0)
    assert data.votes is not None
    assert data.votes[:, 0].tolist() == list(range(6))
    assert data.votes[:, 1].tolist() == [0] * 6


def test_a_table_without_votes_has_none(tmp_path: Path) -> None:
    data = read_annotations(write(tmp_path, votes_total=10, split="train"), val_fraction=0)
    assert data.votes is None
    assert data.soft_labels is None
    assert "Votes for what is no class do not count: votes_total." in data.notes


@pytest.mark.parametrize("count", ["-1", "2.5", "many"])
def test_votes_that_are_no_counts(tmp_path: Path, count: str) -> None:
    with pytest.raises(DataError, match=r"counts of votes in the column 'votes_sad' of .*labels.csv"):
        read_annotations(write(tmp_path, votes_sad=["1", "2", count, "", "0", "3"]))


def test_clean_labels_that_differ_are_counted(tmp_path: Path) -> None:
    write(tmp_path, clean_label=["happy", "happy", "", "angry", "sad", ""], split="train")
    notes = read_annotations(tmp_path, val_fraction=0).notes
    assert notes[-1] == "The given label differs from the clean one on 25.0% of 4 training faces."

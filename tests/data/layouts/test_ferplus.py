from pathlib import Path

import numpy as np
import pytest

from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.layouts.ferplus import COLUMNS, label_votes
from eac_lightning.errors import ConfigurationError, DataError

CLEAR = [[10 if column == emotion else 0 for column in range(10)] for emotion in range(8)]
DOUBTFUL = [
    [5, 0, 0, 5, 0, 0, 0, 0, 0, 0],  # tie
    [1, 1, 0, 0, 0, 0, 0, 0, 8, 0],  # unknown
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 10],  # not a face
    [4, 3, 3, 0, 0, 0, 0, 0, 0, 0],  # most, but less than half
    [5, 1, 1, 1, 1, 1, 0, 0, 0, 0],  # exactly half, all others alone
    [0, 0, 0, 0, 0, 0, 0, 0, 5, 5],  # tie of two that are no emotions
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],  # nobody
    [0, 0, 5, 0, 0, 0, 0, 0, 5, 0],  # an emotion as often as unknown
]


def write(root: Path, votes: list[list[int]], usage: str = "Training") -> Path:
    pixels = " ".join(["7"] * 48 * 48)
    names = ",".join(COLUMNS)
    rows = [f"{usage},fer{i:07d}.png,{','.join(map(str, row))}\n" for i, row in enumerate(votes)]
    (root / "fer2013.csv").write_text("emotion,pixels,Usage\n" + f"0,{pixels},Training\n" * len(votes))
    (root / "fer2013new.csv").write_text(f"Usage,Image name,{names}\n" + "".join(rows), encoding="utf-8-sig")
    return root


@pytest.mark.parametrize(
    ("mode", "reasons"),
    [
        ("majority", ["tie", "unknown", "not a face", "no majority", "", "tie", "no votes", "tie"]),
        (
            "above_half",
            ["tie", "unknown", "not a face", "no majority", "no majority", "tie", "no votes", "tie"],
        ),
        ("plurality", ["tie", "unknown", "not a face", "", "", "tie", "no votes", "tie"]),
        ("soft", ["", "unknown", "not a face", "", "", "tie", "no votes", ""]),
    ],
)
def test_what_the_modes_leave_out(mode: str, reasons: list[str]) -> None:
    label, reason = label_votes(np.array(DOUBTFUL), mode)
    assert reason.tolist() == reasons
    usable = [label[row] for row, why in enumerate(reasons) if not why]
    assert usable == [np.argmax(DOUBTFUL[row][:8]) for row, why in enumerate(reasons) if not why]


@pytest.mark.parametrize("mode", ["majority", "above_half", "plurality", "soft"])
def test_agreement_is_a_label_in_every_mode(mode: str) -> None:
    label, reason = label_votes(np.array(CLEAR), mode)
    assert label.tolist() == list(range(8))
    assert set(reason) == {""}


def test_a_single_vote_does_not_count_towards_the_majority() -> None:
    votes = np.array([[4, 2, 1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]])
    assert label_votes(votes, "majority")[1].tolist() == ["", "no votes"]
    assert label_votes(votes, "above_half")[1].tolist() == ["no majority", "tie"]


def test_what_was_dropped_is_counted(tmp_path: Path) -> None:
    data = read_annotations(write(tmp_path, CLEAR * 2 + DOUBTFUL), val_fraction=0)
    assert data.layout == "ferplus"
    assert data.class_names == COLUMNS[:8]
    assert data.table["label"].tolist() == [*range(8), *range(8), 0]
    assert data.images is not None
    assert data.images.shape == (17, 48, 48)
    assert data.table["path"].iloc[-1] == "fer2013.csv:22"
    assert data.votes is not None
    np.testing.assert_array_equal(data.votes[[0, 16]], [[10, 0, 0, 0, 0, 0, 0, 0], [5, 1, 1, 1, 1, 1, 0, 0]])
    assert "fer2013new.csv stands beside fer2013.csv" in data.notes[0]
    expected = "Left out 7 of 24 faces: tie 3, unknown 1, not a face 1, no majority 1, no votes 1."
    assert expected in data.notes


def test_seven_classes(tmp_path: Path) -> None:
    seven = [name for name in COLUMNS[:8] if name != "contempt"]
    data = read_annotations(write(tmp_path, CLEAR), classes=seven, val_fraction=0)
    assert data.class_names == tuple(seven)
    assert "Left out 1 rows of classes that were not asked for: contempt 1." in data.notes


def test_soft_labels_are_distributions_over_the_chosen_classes(tmp_path: Path) -> None:
    votes = [*CLEAR, [3, 1, 0, 0, 0, 0, 0, 4, 2, 0], [6, 2, 2, 0, 0, 0, 0, 0, 0, 0]]
    write(tmp_path, votes)
    data = read_annotations(tmp_path, votes="soft", val_fraction=0)
    assert data.soft_labels is not None
    assert data.soft_labels.dtype == np.float32
    np.testing.assert_allclose(data.soft_labels[8], [3 / 8, 1 / 8, 0, 0, 0, 0, 0, 1 / 2])
    np.testing.assert_array_equal(data.soft_labels.argmax(1), data.table["label"])
    subset = read_annotations(tmp_path, votes="soft", classes=["happy", "neutral"], val_fraction=0)
    np.testing.assert_allclose(subset.soft_labels, [[0, 1], [1, 0], [1 / 4, 3 / 4]])
    np.testing.assert_array_equal(subset.votes, [[0, 10], [10, 0], [2, 6]])


def test_how_far_raters_agree_is_said(tmp_path: Path) -> None:
    data = read_annotations(write(tmp_path, [*CLEAR, [6, 2, 2, 0, 0, 0, 0, 0, 0, 0]]), val_fraction=0)
    assert "On the 9 faces with several votes, the winning class has 95.6% of them on average" in data.notes[-1]


def test_a_malformed_face_does_not_shift_the_votes(tmp_path: Path) -> None:
    write(tmp_path, [*CLEAR[:1], *CLEAR])
    lines = (tmp_path / "fer2013.csv").read_text().splitlines()
    lines[1] = "0,1 2 3,"
    (tmp_path / "fer2013.csv").write_text("\n".join(lines))
    data = read_annotations(tmp_path, on_bad_image="skip", val_fraction=0)
    assert data.table["label"].tolist() == list(range(8))
    assert data.left_out[0][0] == "fer2013.csv:2"


def test_row_counts_must_agree(tmp_path: Path) -> None:
    write(tmp_path, CLEAR)
    with (tmp_path / "fer2013new.csv").open("a") as file:
        file.write("Training,x.png,10,0,0,0,0,0,0,0,0,0\n")
    with pytest.raises(DataError, match=r"row for row with .*, but it has 9 rows and fer2013\.csv 8"):
        read_annotations(tmp_path)


def test_usage_must_agree(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"at fer2013\.csv:2 the Usage differs, as in 8 rows"):
        read_annotations(write(tmp_path, CLEAR, usage="PublicTest"))


def test_votes_without_their_columns(tmp_path: Path) -> None:
    write(tmp_path, CLEAR)
    path = tmp_path / "fer2013new.csv"
    path.write_text(path.read_text().replace("contempt", "scorn"))
    with pytest.raises(DataError, match=r"columns contempt in .*, but found .*scorn"):
        read_annotations(tmp_path)


def test_votes_that_are_no_counts(tmp_path: Path) -> None:
    write(tmp_path, CLEAR)
    path = tmp_path / "fer2013new.csv"
    path.write_text(path.read_text().replace("fer0000002.png,0", "fer0000002.png,-1"))
    with pytest.raises(DataError, match="other text in 1 lines, the first of them line 4"):
        read_annotations(tmp_path)


def test_votes_without_pixels(tmp_path: Path) -> None:
    write(tmp_path, CLEAR)
    (tmp_path / "fer2013.csv").unlink()
    with pytest.raises(DataError, match=r"fer2013new\.csv beside fer2013\.csv"):
        read_annotations(tmp_path, "ferplus")


def test_unknown_votes(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Unknown votes 'major'. Did you mean 'majority'"):
        read_annotations(tmp_path, votes="major")

import csv
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from eac_lightning.data.datamodule import FERDataModule
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.faces.alignment import Alignment
from eac_lightning.faces.crop_names import plan_names
from eac_lightning.faces.crops import Extraction, extract_faces
from eac_lightning.faces.detection import Face
from eac_lightning.faces.manifest import COLUMNS
from eac_lightning.faces.settings import read_alignment
from tests.faces.photographs import made_up_face, photograph

Faces = Sequence[Face]


class Counting:
    """Finds as many faces as the blue of the first pixel says, of sides 90, 80 …, and notes what it was shown."""

    def __init__(self, dies_after: int | None = None) -> None:
        self.seen: list[tuple[int, int]] = []
        self.dies_after = dies_after

    def __call__(self, images: Sequence[Image.Image]) -> list[Faces]:
        if self.dies_after is not None and len(self.seen) >= self.dies_after:
            raise KeyboardInterrupt
        self.seen += [image.size for image in images]
        counts = [image.convert("RGB").getpixel((0, 0))[2] for image in images]  # type: ignore[index]
        return [[made_up_face(5 * n, 3 * n, 90 - 10 * n) for n in range(count)] for count in counts]


def draw(path: Path, faces: int, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (60, 100, 3), np.uint8)
    pixels[0, 0, 2] = faces
    Image.fromarray(pixels).save(path, **({"lossless": True} if path.suffix == ".webp" else {}))


def read_manifest(out: Path) -> list[dict[str, str]]:
    with (out / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Photographs with 0 to 3 faces in folders of classes, one that is broken, and things that are no pictures."""
    root = tmp_path / "album"
    for split, count in (("train", 3), ("test", 2)):
        for label in ("happy", "sad"):
            for i in range(count):
                draw(root / split / label / f"{i}.png", (i + 1) % 4, seed=i)
    draw(root / "train" / "sad" / "many.bmp", 3)
    draw(root / "train" / "sad" / "none.webp", 0)
    (root / "train" / "sad" / "broken.jpg").write_bytes(b"no picture")
    draw(root / ".hidden" / "a.png", 1)
    (root / "train" / "notes.txt").write_text("not a picture")
    return root


def test_a_photograph_becomes_an_aligned_crop_with_its_row(tmp_path: Path) -> None:
    picture, eyes = photograph()
    (tmp_path / "in" / "a").mkdir(parents=True)
    picture.save(tmp_path / "in" / "a" / "b.png")
    seen: list[tuple[int, int]] = []
    done = extract_faces(tmp_path / "in", tmp_path / "out", progress=lambda *numbers: seen.append(numbers))
    (row,) = read_manifest(tmp_path / "out")
    assert list(row) == list(COLUMNS)
    assert (row["source"], row["crop"], row["reason"]) == ("a/b.png", "a/b.png", "")
    assert float(row["confidence"]) > 0.99
    found = np.array([[float(row[f"{side}_eye_{axis}"]) for axis in "xy"] for side in ("left", "right")])
    assert np.abs(found - eyes[0]).max() < 5
    crop = Image.open(tmp_path / "out" / "a" / "b.png")
    assert (crop.size, crop.mode) == ((112, 112), "RGB")
    points = [float(row[name]) for name in COLUMNS[7:17]]
    again = Face((0, 0, 1, 1), 1.0, np.reshape(points, (5, 2)).astype(np.float32))
    difference = np.asarray(Alignment()(picture, again), np.float64) - np.asarray(crop, np.float64)
    assert np.abs(difference).max() < 6  # the manifest says all that the crop was cut with
    assert done == Extraction(1, 1, {}, 1, 1, done.seconds)
    assert seen == [(0, 1)]


def test_folders_classes_and_splits_are_kept(album: Path, tmp_path: Path) -> None:
    before = files(album)
    done = extract_faces(album, tmp_path / "out", detector=Counting(), batch_size=4)
    made = {name for name in files(tmp_path / "out") if name.endswith(".png")}
    whole = {
        f"{split}/{label}/{i}.png"
        for split, n in (("train", 3), ("test", 2))
        for label in ("happy", "sad")
        for i in range(n)
    }
    assert made == whole | {"train/sad/many.png"}
    assert done.without == {"no face": 1, "unreadable": 1}
    assert (done.photographs, done.crops, done.new_photographs, done.new_crops) == (13, 11, 13, 11)
    assert files(album) == before
    rows = {row["source"]: row for row in read_manifest(tmp_path / "out")}
    assert list(rows) == sorted(rows)
    assert rows["train/sad/broken.jpg"]["reason"] == "unreadable: not a picture in a known format"
    assert rows["train/sad/none.webp"]["reason"] == "no face"
    assert all(value == "" for name, value in rows["train/sad/none.webp"].items() if name not in ("source", "reason"))
    data = FERDataModule(tmp_path / "out", image_size=32, val_fraction=0)
    assert data.class_names == ("happiness", "sadness")
    assert len(data.dataset("train")) == 7
    assert data.alignment == Alignment().to_dict()


@pytest.mark.parametrize(
    ("faces", "min_size", "crops", "reason"),
    [
        ("largest", 40, ["many"], ""),
        ("all", 40, ["many_0", "many_1", "many_2"], ""),
        ("all", 75, ["many_0", "many_1"], ""),
        ("all", 85, ["many"], ""),
        ("one", 40, [], "3 faces, expected exactly one"),
        ("one", 85, ["many"], ""),
        ("all", 91, [], "face smaller than 91 px"),
    ],
)
def test_which_faces(faces: str, min_size: int, crops: list[str], reason: str, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "many.png", 3)
    extract_faces(tmp_path / "in", tmp_path / "out", faces=faces, min_size=min_size, detector=Counting())
    rows = read_manifest(tmp_path / "out")
    assert [row["crop"] for row in rows] == ([f"{name}.png" for name in crops] or [""])
    assert {row["reason"] for row in rows} == {reason}
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.png")) == crops


@pytest.mark.parametrize("killed_after", [1, 3, 6])
def test_a_killed_run_goes_on_and_ends_the_same(killed_after: int, album: Path, tmp_path: Path) -> None:
    extract_faces(album, tmp_path / "whole", faces="all", detector=Counting(), batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        extract_faces(album, tmp_path / "out", faces="all", detector=Counting(killed_after), batch_size=2)
    assert not (tmp_path / "out" / "manifest.csv").exists()
    again = Counting()
    extract_faces(album, tmp_path / "out", faces="all", detector=again, batch_size=2)
    # Of the batches that were done, the last photograph counts as unfinished.
    assert len(again.seen) == 12 - 2 * -(-killed_after // 2) + 1
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_it_may_be_killed_while_it_writes_the_settings(album: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".faces.json.partial").write_text("{")
    extract_faces(album, tmp_path / "out", detector=Counting())
    assert json.loads((tmp_path / "out" / "faces.json").read_text())["faces"] == "largest"
    assert not (tmp_path / "out" / ".faces.json.partial").exists()


def test_it_may_be_killed_at_any_byte_of_the_manifest(tmp_path: Path) -> None:
    for i in range(3):
        draw(tmp_path / "in" / f"ü{i}.png", i + 1)
    out = tmp_path / "out"
    extract_faces(tmp_path / "in", out, faces="all", detector=Counting())
    whole = files(out)
    part = (out / "manifest.csv").read_bytes()
    (out / "manifest.csv").unlink()
    for end in range(len(",".join(COLUMNS)) + 1, len(part) + 1, 7):
        (out / "manifest.csv.part").write_bytes(part[:end])
        extract_faces(tmp_path / "in", out, faces="all", detector=Counting())
        assert files(out) == whole
        (out / "manifest.csv").unlink()


def test_a_second_run_does_only_what_is_missing(album: Path, tmp_path: Path) -> None:
    extract_faces(album, tmp_path / "out", detector=Counting())
    whole = files(tmp_path / "out")
    idle = Counting(dies_after=0)
    done = extract_faces(album, tmp_path / "out", detector=idle)
    assert (done.photographs, done.crops, done.new_photographs, done.new_crops) == (13, 11, 0, 0)
    (tmp_path / "out" / "train" / "sad" / "1.png").unlink()
    draw(album / "train" / "happy" / "new.png", 1)
    more = Counting()
    done = extract_faces(album, tmp_path / "out", detector=more)
    assert len(more.seen) == done.new_photographs == 2
    now = files(tmp_path / "out")
    assert now.keys() - whole.keys() == {"train/happy/new.png"}
    assert {name for name in whole if now[name] != whole[name]} == {"manifest.csv"}


def test_other_settings_or_photographs_are_refused(album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    extract_faces(album, out, detector=Counting())
    before = files(out)
    with pytest.raises(
        ConfigurationError, match="other settings .faces: largest, now all; min_size: 40, now 60.. Give the same"
    ):
        extract_faces(album, out, min_size=60, faces="all", detector=Counting())
    with pytest.raises(ConfigurationError, match="alignment: .*'size': 112.*now .*'size': 64"):
        extract_faces(album, out, alignment=Alignment(size=64), detector=Counting())
    shutil.copytree(album, tmp_path / "other")
    with pytest.raises(ConfigurationError, match=r"source: \.\./album, now \.\./other"):
        extract_faces(tmp_path / "other", out, detector=Counting())
    assert files(out) == before


def test_photographs_and_crops_may_lie_on_two_drives(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(path: object, start: object) -> str:
        raise ValueError(f"path is on another drive than start: {path}, {start}")

    monkeypatch.setattr(os.path, "relpath", none)
    for _ in range(2):
        extract_faces(album, tmp_path / "out", detector=Counting())
    assert json.loads((tmp_path / "out" / "faces.json").read_text())["source"] == album.resolve().as_posix()


def test_hidden_files_do_not_fill_a_folder(album: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".DS_Store").touch()
    assert extract_faces(album, tmp_path / "out", detector=Counting()).crops == 11


def test_crops_go_with_their_photographs(album: Path, tmp_path: Path) -> None:
    """Whatever became of the photographs, the folder is in the end as if it had been made of these alone."""
    out = tmp_path / "out"
    extract_faces(album, out, faces="all", detector=Counting())
    train = album / "train"
    draw(train / "happy" / "new.bmp", 1, seed=8)
    draw(train / "happy" / "0.webp", 1, seed=9)  # 0.png of the crops would be of both
    (train / "happy" / "1.png").rename(train / "happy" / "1.bmp")
    (train / "sad" / "many.bmp").unlink()
    (train / "sad" / "none.webp").unlink()
    (album / "test" / "sad").rename(album / "test" / "angry")
    again = Counting()
    done = extract_faces(album, out, faces="all", detector=again)
    assert len(again.seen) == done.new_photographs == 2 + 2 + 2  # two new, 0.png under its new name, three renamed
    assert done.notes == ("5 photographs are gone since an earlier run, and so are their crops.",)
    extract_faces(album, tmp_path / "whole", faces="all", detector=Counting())
    assert files(out) == files(tmp_path / "whole")
    assert not (out / "test" / "sad").exists()  # an empty folder of a class is none that could be learned
    assert extract_faces(album, out, faces="all", detector=Counting(0)).notes == ()


def test_a_photograph_may_be_renamed_to_the_name_of_its_crop(tmp_path: Path) -> None:
    for before, after in (("a.bmp", "a.png"), ("a.png", "a.webp")):
        (tmp_path / "in" / before).unlink(missing_ok=True)
        draw(tmp_path / "in" / after, 1)
        done = extract_faces(tmp_path / "in", tmp_path / "out", detector=Counting())
        assert [(row["source"], row["crop"]) for row in read_manifest(tmp_path / "out")] == [(after, "a.png")]
        assert (done.photographs, done.crops) == (1, 1)


def test_a_manifest_removes_nothing_outside_its_folder(album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    extract_faces(album, out, detector=Counting())
    precious = [tmp_path / "precious.png", out.parent / "other" / "precious.png"]
    for path in precious:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with (out / "manifest.csv").open("a") as file:
        file.writelines(f"{i}.jpg,{name}{',' * 16}\n" for i, name in enumerate(("../precious.png", precious[1])))
    assert "2 photographs are gone" in extract_faces(album, out, detector=Counting()).notes[0]
    assert all(path.is_file() for path in precious)


def test_a_gone_photograph_that_was_the_last_of_a_killed_run_is_forgotten(tmp_path: Path) -> None:
    for i in range(2):
        draw(tmp_path / "in" / f"{i}.png", 1)
    out = tmp_path / "out"
    extract_faces(tmp_path / "in", out, detector=Counting())
    (out / "manifest.csv").rename(out / "manifest.csv.part")
    (tmp_path / "in" / "1.png").unlink()
    extract_faces(tmp_path / "in", out, detector=Counting(0))
    assert sorted(files(out)) == ["0.png", "faces.json", "manifest.csv"]


def test_a_face_that_cannot_be_cut_out_has_a_reason(tmp_path: Path) -> None:
    def one_bad(images: Sequence[Image.Image]) -> list[Faces]:
        bad = Face((0, 0, 60, 60), 0.97, np.full((5, 2), 7, np.float32))
        broken = Face((0, 0, 50, 50), 0.96, np.full((5, 2), np.nan, np.float32))
        return [[made_up_face(0, 0, 70), bad, broken] if image.width == 100 else [bad] for image in images]

    draw(tmp_path / "in" / "a.png", 1)
    Image.new("RGB", (90, 90)).save(tmp_path / "in" / "b.png")
    done = extract_faces(tmp_path / "in", tmp_path / "out", faces="all", detector=one_bad)
    assert (done.crops, done.without) == (1, {"cannot be cut out": 3})
    rows = read_manifest(tmp_path / "out")
    assert [(row["source"], row["crop"]) for row in rows] == [
        ("a.png", ""),
        ("a.png", ""),
        ("a.png", "a.png"),
        ("b.png", ""),
    ]
    assert rows[0]["reason"].startswith("cannot be cut out: Expected landmarks that lie apart, but found [[7.0, 7.0]")
    assert (rows[0]["confidence"], rows[0]["nose_x"]) == ("0.9700", "7.00")
    assert extract_faces(tmp_path / "in", tmp_path / "out", faces="all", detector=Counting(0)).new_photographs == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"faces": "both"}, ConfigurationError, "Unknown choice of faces 'both'"),
        ({"batch_size": 0}, ConfigurationError, "batch_size of 1 or more"),
        ({"min_size": -1}, ConfigurationError, "min_size of 0 or more"),
        ({"source": "nowhere"}, DataError, "folder of photographs at .*nowhere, but there is none"),
        ({"source": "empty"}, DataError, "but there is none"),
        ({"out": "album/crops"}, DataError, "would lie among the photographs"),
        ({"out": "album"}, DataError, "would lie among the photographs"),
        ({"out": "."}, DataError, "new or empty folder, .* exists and has none"),
        ({"out": "a_file"}, DataError, "new or empty folder, .*a_file exists and has none"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: dict[str, str], error: type[Exception], message: str, album: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a_file").touch()
    before = files(tmp_path)
    folders = {name: tmp_path / arguments.get(name, default) for name, default in (("source", "album"), ("out", "out"))}
    with pytest.raises(error, match=message):
        extract_faces(**(arguments | folders), detector=Counting())  # type: ignore[arg-type]
    assert files(tmp_path) == before


def test_a_foreign_manifest_or_broken_settings_are_refused(album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    extract_faces(album, out, detector=Counting())
    (out / "manifest.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="Expected the columns source, .*but found .'a', 'b'.*Remove it"):
        extract_faces(album, out, detector=Counting())
    (out / "faces.json").write_text("{")
    with pytest.raises(DataError, match="settings of face crops in .*faces.json, but it cannot be read"):
        extract_faces(album, out, detector=Counting())


def test_no_two_crops_share_a_name() -> None:
    photographs = [
        "a.jpg",
        "b.jpg",
        "b.PNG",
        "c.jpg",
        "c_0.jpg",
        "d_1.jpg",
        "e.jpg",
        "e.jpg.png",
        "x/a.jpg",
        "X.jpg",
        "x.bmp",
    ]
    one = plan_names(photographs, several=False)
    assert one["a.jpg"] == "a"
    assert one["x/a.jpg"] == "x/a"
    assert (one["b.jpg"], one["b.PNG"]) == ("b.jpg", "b.PNG")
    assert (one["c.jpg"], one["c_0.jpg"]) == ("c", "c_0")
    many = plan_names(photographs, several=True)
    assert (many["c.jpg"], many["c_0.jpg"], many["d_1.jpg"]) == ("c.jpg", "c_0.jpg", "d_1")
    assert len({name.casefold() for name in one.values()}) == len(photographs)
    crops = [f"{name}{number}".casefold() for name in many.values() for number in ("", "_0", "_1", "_2")]
    assert len(set(crops)) == len(crops)


WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "labels.csv": lambda frame, path: frame.to_csv(path, index=False, sep=";"),
    "annotations.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "mine.parquet": lambda frame, path: frame.to_parquet(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_table_is_written_again_for_the_crops(name: str, tmp_path: Path) -> None:
    for i in range(8):
        draw(tmp_path / "in" / "p" / f"{i}.bmp", (2, 1, 0, 1)[i % 4], seed=i)
    paths = [f"{'./' * (i % 2)}p/{i}.bmp" for i in range(8)] + ["p/gone.bmp"]
    frame = pd.DataFrame({"id": [f"{i:03d}" for i in range(9)], " path": paths, "label": ["happy", "sad", "sad"] * 3})
    WRITERS[name](frame.rename(columns={" path": " path" if name.endswith("csv") else "path"}), tmp_path / "in" / name)
    done = extract_faces(tmp_path / "in", tmp_path / "out", faces="all", detector=Counting())
    assert done.notes == (f"{name}: 8 rows; 3 of 9 photographs have no crop and are left out.",)
    data = FERDataModule(tmp_path / "out", image_size=16, val_fraction=0, test_fraction=0)
    table = data.annotations.table
    assert table["path"].tolist() == [f"p/{stem}.png" for stem in ("0_0", "0_1", "1", "3", "4_0", "4_1", "5", "7")]
    assert [data.class_names[k] for k in table["label"]] == [
        {"happy": "happiness", "sad": "sadness"}[frame["label"][i]] for i in (0, 0, 1, 3, 4, 4, 5, 7)
    ]
    assert len(data.dataset("train")) == 8
    if name != "mine.parquet":
        assert "000" in (tmp_path / "out" / name).read_text()
    assert data.alignment == Alignment().to_dict()


def test_a_table_may_have_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "in" / "p" / "a.png", 1)
    (tmp_path / "link").symlink_to(tmp_path / "in", target_is_directory=True)
    paths = [tmp_path / "in" / "p" / "a.png", tmp_path / "link" / "p" / "a.png", tmp_path / "a.png", "p/./a.png"]
    pd.DataFrame({"path": paths, "label": list("abcd")}).to_csv(tmp_path / "in" / "labels.csv", index=False)
    monkeypatch.chdir(tmp_path)
    done = extract_faces("in", "out", detector=Counting())
    assert done.notes == ("labels.csv: 3 rows; 1 of 4 photographs have no crop and are left out.",)
    assert Path("out/labels.csv").read_text() == "path,label\np/a.png,a\np/a.png,b\np/a.png,d\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("b.png,x\np/a.png,y\n", "name photographs in .*in, by .* not one of its 2 rows does; the first says 'b.png'"),
        ("", "not one of its 0 rows does.$"),
    ],
)
def test_a_table_of_other_photographs_is_refused(rows: str, message: str, tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png", 1)
    (tmp_path / "in" / "labels.csv").write_text(f"path,label\n{rows}")
    with pytest.raises(
        DataError, match=f"Expected the column 'path' of .*labels.csv to {message}" if rows else message
    ):
        extract_faces(tmp_path / "in", tmp_path / "out", detector=Counting())
    assert not (tmp_path / "out").exists()


def test_tables_that_cannot_be_are_refused_before_the_work(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png", 1)
    table = tmp_path / "in" / "labels.csv"
    table.write_text("image,label\na.png,happy\n")
    with pytest.raises(DataError, match="Expected a column 'path' .*--path-column NAME"):
        extract_faces(tmp_path / "in", tmp_path / "out", detector=Counting())
    extract_faces(tmp_path / "in", tmp_path / "out", path_column="image", detector=Counting())
    assert (tmp_path / "out" / "labels.csv").read_text() == "image,label\na.png,happy\n"
    table.unlink()
    for name in ("a", "b"):
        pd.DataFrame({"path": []}).to_parquet(tmp_path / "in" / f"{name}.parquet")
    with pytest.raises(DataError, match="at most one table in .*a.parquet, b.parquet"):
        extract_faces(tmp_path / "in", tmp_path / "out2", detector=Counting())
    assert not (tmp_path / "out2").exists()


def test_alignment_is_found_from_every_root_that_a_data_set_may_have(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def settings(folder: Path, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "faces.json").write_text(json.dumps({"alignment": Alignment(size=size).to_dict()}))

    settings(tmp_path / "one", 64)
    (tmp_path / "one" / "train").mkdir()
    (tmp_path / "one" / "labels.csv").touch()
    for root in ("one", "one/labels.csv", "one/train"):
        assert read_alignment(tmp_path / root) == Alignment(size=64).to_dict()
    settings(tmp_path / "splits" / "train", 32)
    settings(tmp_path / "splits" / "test", 32)
    assert read_alignment(tmp_path / "splits") == Alignment(size=32).to_dict()
    settings(tmp_path / "splits" / "test", 48)
    assert read_alignment(tmp_path / "splits") is None
    assert "cut out in different ways" in caplog.text
    (tmp_path / "plain").mkdir()
    assert FERDataModule(tmp_path / "plain").alignment is None


@pytest.mark.parametrize("place", ["", "train", ".."])
@pytest.mark.parametrize(
    "content", ["[]", '[["alignment", {}]]', "{", "3", "{}", '{"alignment": "box"}', "[" * 100_000]
)
def test_foreign_settings_leave_the_alignment_unknown(
    content: str, place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "data"
    (root / "train").mkdir(parents=True)
    (root / place / "faces.json").write_text(content)
    assert read_alignment(root) is None
    [warning] = caplog.messages
    assert "it cannot be read: " in warning
    assert warning.endswith("How these faces were cut out is therefore unknown.")


def test_only_the_folders_of_splits_are_searched_for_settings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("others", "validation"):
        (tmp_path / name).mkdir()
    (tmp_path / "others" / "faces.json").write_text("{")
    (tmp_path / "validation" / "faces.json").write_text('{"alignment": {"size": 3}}')
    assert read_alignment(tmp_path) == {"size": 3}
    assert read_alignment(tmp_path / "nowhere") is None
    assert not caplog.messages


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_that_are_no_text_are_kept(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png", 1)
    os.rename(os.fsencode(tmp_path / "in" / "a.png"), os.fsencode(tmp_path / "in") + b'/\xff,".png')  # noqa: PTH104
    extract_faces(tmp_path / "in", tmp_path / "out", detector=Counting())
    assert os.listdir(os.fsencode(tmp_path / "in")) == [b'\xff,".png']  # noqa: PTH208
    assert extract_faces(tmp_path / "in", tmp_path / "out", detector=Counting(0)).new_photographs == 0

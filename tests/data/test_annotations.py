import subprocess
import sys
from pathlib import Path

import pytest

from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.layouts import LAYOUTS, Layout, Options, Rows
from eac_lightning.errors import ConfigurationError, DataError


def make_folders(root: Path) -> Path:
    for split in ("train", "test"):
        for name in ("happy", "sad"):
            (root / split / name).mkdir(parents=True)
            for number in range(10):
                (root / split / name / f"{number}.png").touch()
    return root


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data set at .*nowhere, but there is no such folder \(looked in"):
        read_annotations(tmp_path / "nowhere")


def test_root_of_a_wrong_kind(tmp_path: Path) -> None:
    file = tmp_path / "faces.zip"
    file.touch()
    with pytest.raises(DataError, match=r"table \(.csv, .tsv, .parquet\), but .*faces.zip is another kind"):
        read_annotations(file)


@pytest.mark.parametrize("layout", ["ferplus", "fer2013", "rafdb", "table", "folder"])
def test_root_of_a_wrong_kind_for_a_named_layout(tmp_path: Path, layout: str) -> None:
    file = tmp_path / "faces.zip"
    file.touch()
    with pytest.raises(DataError, match=r"^Expected .*faces\.zip"):
        read_annotations(file, layout)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder is empty"):
        read_annotations(tmp_path)


def test_nothing_recognised_says_what_is_there_and_what_is_needed(tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "docs/readme.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(DataError) as caught:
        read_annotations(tmp_path)
    message = str(caught.value)
    assert "Found: 1.png, 2.png, docs/. Expected one of:" in message
    for layout in ("ferplus", "fer2013", "rafdb", "table", "folder"):
        assert f"\n  {layout}: " in message
    for number in range(20):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(DataError, match=r"… \(23 in all\)"):
        read_annotations(tmp_path)


def test_unknown_layout_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Unknown layout 'raf-db'. Did you mean 'rafdb'.*auto"):
        read_annotations(tmp_path, "raf-db")


def test_unknown_class_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Unknown class 'hapy'. Did you mean 'happy'"):
        read_annotations(make_folders(tmp_path), classes=["hapy", "sad"])


def test_unknown_policy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Unknown on_bad_image 'skipp'. Did you mean 'skip'"):
        read_annotations(tmp_path, on_bad_image="skipp")


def test_fractions_are_checked_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="val_fraction"):
        read_annotations(tmp_path / "nowhere", val_fraction=1)


def test_columns_need_a_table(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"columns of a table, but the layout of .* is 'folder'"):
        read_annotations(make_folders(tmp_path), columns={"label": "emotion"})


def test_the_named_layout_is_read_and_said(tmp_path: Path) -> None:
    make_folders(tmp_path)
    (tmp_path / "labels.csv").write_text("path,label\n")
    data = read_annotations(tmp_path, "folder")
    assert data.layout == "folder"
    assert data.notes[0] == "Layout folder: asked for."
    assert data.notes[1] == "2 of 20 training pictures became val, stratified by seed 0."


def test_reading_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from eac_lightning.data.annotations import read_annotations; "
        f"read_annotations({str(make_folders(tmp_path))!r}); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("raised", [NotImplementedError("no cast"), KeyError("a"), IndexError("b")], ids=repr)
def test_whatever_a_reader_stumbles_over_names_the_data_set(
    raised: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(root: Path, options: Options) -> Rows:
        raise raised

    monkeypatch.setitem(LAYOUTS, "folder", Layout(lambda root, options: "", stumble, ""))
    with pytest.raises(DataError, match=f"Cannot read the data set in .* \\({type(raised).__name__}: "):
        read_annotations(tmp_path, "folder")

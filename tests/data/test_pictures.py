from pathlib import Path

import pytest

from eac_lightning.data.pictures import find_pictures, list_pictures, spread_over
from eac_lightning.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a/b/2.PNG", "a/notes.txt", "1.jpg", ".hidden/3.jpg", "a/.4.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "c.jpg").mkdir()
    return tmp_path


def test_pictures_are_found_wherever_they_are(folder: Path) -> None:
    assert list_pictures(folder) == ["1.jpg", "a/b/2.PNG"]


def test_links_to_folders_are_not_followed(folder: Path) -> None:
    (folder / "a" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "a" / "linked.jpg").symlink_to(folder / "1.jpg")
    (folder / "a" / "broken.jpg").symlink_to(folder / "none.jpg")
    assert list_pictures(folder) == ["1.jpg", "a/b/2.PNG", "a/linked.jpg"]


def test_files_are_taken_as_named_and_folders_searched(folder: Path) -> None:
    named = [folder / "a" / "notes.txt", folder / "a"]
    assert find_pictures(named) == [folder / "a" / "notes.txt", folder / "a" / "b" / "2.PNG"]


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="Expected a folder of unlabelled faces at .*1.jpg, but that is a file"):
        list_pictures(folder / "1.jpg", "unlabelled faces")
    with pytest.raises(DataError, match="Expected a folder of pictures at .*nowhere, but there is none"):
        list_pictures(folder / "nowhere")
    with pytest.raises(DataError, match="Expected pictures .*there is none. Name the folder"):
        find_pictures([folder / "c.jpg"])
    (folder / "c.jpg" / "1.HEIC").touch()
    with pytest.raises(DataError, match="Expected pictures .*there is none. HEIC is not read: save those as JPEG"):
        find_pictures([folder / "c.jpg"])
    with pytest.raises(DataError, match="at .*nowhere, but there is nothing"):
        find_pictures([folder / "nowhere"])
    with pytest.raises(DataError, match="none was named"):
        find_pictures([])


def test_some_of_many_come_from_all_over_them() -> None:
    paths = [Path(f"{number}.jpg") for number in range(10)]
    assert [path.stem for path in spread_over(paths, 4)] == ["0", "2", "5", "7"]
    assert spread_over(paths, 11) == spread_over(paths, None) == paths

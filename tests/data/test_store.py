import logging
import os
from pathlib import Path

import numpy as np
import pytest

from eac_lightning.data import sources
from eac_lightning.data import store as store_module
from eac_lightning.data.sources import FilePictures
from eac_lightning.data.store import ImageStore
from eac_lightning.data.store_file import VARIABLE
from eac_lightning.errors import ConfigurationError, DataError
from tests.data.painting import count_decoding, grey, paint, red


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("cache", ["ram", "disk", "auto"])
def test_grey_pictures_are_kept_in_one_channel(tmp_path: Path, cache: str) -> None:
    source = paint(tmp_path, a=grey(10), b=grey(20, 16))
    for _ in range(2):
        store = ImageStore.build(source, 4, cache)
        assert store.images.shape == (2, 1, 4, 4)
        assert store.images.dtype == np.uint8
        np.testing.assert_array_equal(store.images[:, 0, 0, 0], [10, 20])
        assert isinstance(store.images, np.memmap) == (cache != "ram")


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_one_coloured_picture_makes_all_three_channels(tmp_path: Path, cache: str) -> None:
    source = paint(tmp_path, a=grey(10), b=grey(20), c=red(), d=grey(30))
    expected = [[10] * 3, [20] * 3, [255, 0, 0], [30] * 3]
    for _ in range(2):
        np.testing.assert_array_equal(ImageStore.build(source, 8, cache).images[:, :, 3, 3], expected)


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_bad_pictures_are_left_out_and_named_also_the_second_time(tmp_path: Path, cache: str) -> None:
    source = paint(tmp_path, a=grey(1), broken=b"no picture", c=grey(3))
    source = FilePictures(tmp_path, [*source.names, "missing.png", "d.png"])
    paint(tmp_path, d=grey(4))
    for _ in range(2):
        store = ImageStore.build(source, 8, cache)
        assert store.kept.tolist() == [0, 2, 4]
        np.testing.assert_array_equal(store.images[:, 0, 0, 0], [1, 3, 4])
        assert store.bad == {"broken.png": "not a picture in a known format", "missing.png": "no such file"}


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_nothing_readable_is_an_empty_store_and_no_file(tmp_path: Path, cache: str) -> None:
    for _ in range(2):
        store = ImageStore.build(FilePictures(tmp_path, ["missing.png"]), 8, cache)
        assert store.images.shape == (0, 1, 8, 8)
        assert store.bad == {"missing.png": "no such file"}
    assert not list(Path(os.environ[VARIABLE]).rglob("*.pixels"))


def test_the_second_time_nothing_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = paint(tmp_path, a=grey(10), b=red())
    seen = count_decoding(monkeypatch)
    with caplog.at_level(logging.INFO, "eac_lightning"):
        first = ImageStore.build(source, 8)
        second = ImageStore.build(FilePictures(tmp_path, source.names), 8)
    assert seen == ["a.png", "b.png"]
    assert np.array_equal(first.images, second.images)
    assert first.kept.tolist() == second.kept.tolist() == [0, 1]
    assert len(caplog.messages) == 1
    assert VARIABLE in caplog.messages[0]
    ImageStore.build(source, 4)  # another size is another store
    ImageStore.build(FilePictures(tmp_path, ["a.png"]), 8)
    assert len(seen) == 5


@pytest.mark.parametrize("change", ["size", "time", "missing", "back"])
def test_a_change_of_a_picture_makes_the_store_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    source = paint(tmp_path, a=grey(10), b=grey(20), c=grey(30))
    if change == "back":
        (tmp_path / "b.png").unlink()
    ImageStore.build(source, 8)
    seen = count_decoding(monkeypatch)
    if change == "missing":
        (tmp_path / "b.png").unlink()
    elif change == "time":
        about = (tmp_path / "b.png").stat()
        os.utime(tmp_path / "b.png", ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    else:
        paint(tmp_path, b=grey(99, 12))
    store = ImageStore.build(source, 8)
    assert len(seen) == 3
    missing = change == "missing"  # which is looked for once more
    values = {"size": [10, 99, 30], "back": [10, 99, 30], "time": [10, 20, 30], "missing": [10, 30]}[change]
    assert store.images[:, 0, 0, 0].tolist() == values
    assert ImageStore.build(source, 8).images[:, 0, 0, 0].tolist() == values
    assert len(seen) == 3 + missing


def test_what_is_written_to_it_never_reaches_the_file(tmp_path: Path) -> None:
    source = paint(tmp_path, a=grey(10))
    for _ in range(2):
        store = ImageStore.build(source, 8)
        assert (store.images == 10).all()
        store.images[:] = 0


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)


def test_a_full_disk_says_so_and_is_not_filled_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_the_disk(monkeypatch)
    with pytest.raises(DataError, match=f"No space left on device.*{VARIABLE}"):
        ImageStore.build(paint(tmp_path, a=grey(7)), 8, "disk")
    assert {path.suffix for path in Path(os.environ[VARIABLE]).rglob("*") if path.is_file()} <= {".lock"}


def test_auto_takes_the_memory_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill_the_disk(monkeypatch)
    source = paint(tmp_path, a=grey(7))
    store = ImageStore.build(source, 8)
    assert store.images[0, 0, 0, 0] == 7
    assert not isinstance(store.images, np.memmap)
    assert "kept in RAM" in caplog.text
    monkeypatch.setattr(store_module, "available_memory", lambda: 8 * 8 * 3)
    with pytest.raises(DataError, match="No space left"):
        ImageStore.build(source, 8)


def test_auto_takes_the_memory_where_the_folder_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file"))
    assert ImageStore.build(paint(tmp_path, a=grey(7)), 8).images[0, 0, 0, 0] == 7
    assert "kept in RAM" in caplog.text


@pytest.mark.parametrize(
    ("free", "processes", "on_disk"), [(10**9, "1", False), (10**9, "2", True), (383, "1", True), (384, "1", False)]
)
def test_auto_keeps_what_is_large_in_memory_if_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, processes: str, on_disk: bool
) -> None:
    monkeypatch.setattr(store_module, "KEPT", 191)  # one picture may take 192 bytes
    monkeypatch.setattr(store_module, "available_memory", lambda: free)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    store = ImageStore.build(paint(tmp_path, a=grey(7)), 8)
    assert isinstance(store.images, np.memmap) == on_disk
    assert store.images[0, 0, 0, 0] == 7


def test_a_folder_that_cannot_be_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file"))
    with pytest.raises(DataError, match=rf"cannot be kept in {tmp_path}/file/stores: .*variable {VARIABLE}"):
        ImageStore.build(paint(tmp_path, a=grey(7)), 8, "disk")


def test_what_was_bad_is_tried_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = paint(tmp_path, a=grey(10), b=grey(20), c=b"bad")
    decode = sources.decode_image

    def failing(path: Path) -> np.ndarray:
        if path.name == "b.png":
            raise DataError("Input/output error")
        return decode(path)

    with monkeypatch.context() as patch:
        patch.setattr(sources, "decode_image", failing)
        assert list(ImageStore.build(source, 8).bad) == ["b.png", "c.png"]
    for _ in range(2):
        store = ImageStore.build(source, 8)
        assert store.images[:, 0, 0, 0].tolist() == [10, 20]
        assert list(store.bad) == ["c.png"]


def test_an_unknown_cache_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'disk'"):
        ImageStore.build(FilePictures(tmp_path, []), 8, "disc")

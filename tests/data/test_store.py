import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eac_lightning.data import store as store_module
from eac_lightning.data.store import ImageStore, available_memory, report_bad_images
from eac_lightning.errors import ConfigurationError, DataError


def write(folder: Path, **pictures: np.ndarray | bytes) -> list[str]:
    for name, picture in pictures.items():
        if isinstance(picture, bytes):
            (folder / f"{name}.png").write_bytes(picture)
        else:
            Image.fromarray(picture).save(folder / f"{name}.png")
    return [f"{name}.png" for name in pictures]


def grey(value: int, size: int = 8) -> np.ndarray:
    return np.full((size, size), value, np.uint8)


def red(size: int = 8) -> np.ndarray:
    return np.full((size, size, 3), (255, 0, 0), np.uint8)


@pytest.mark.parametrize("cache", ["ram", "disk", "auto"])
def test_grey_pictures_are_kept_in_one_channel(tmp_path: Path, cache: str) -> None:
    names = write(tmp_path, a=grey(10), b=grey(20, 16))
    store = ImageStore.from_files(tmp_path, names, 4, cache)
    assert store.images.shape == (2, 1, 4, 4)
    assert store.images.dtype == np.uint8
    np.testing.assert_array_equal(store.images[:, 0, 0, 0], [10, 20])
    assert isinstance(store.images, np.memmap) == (cache == "disk")


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_one_coloured_picture_makes_all_three_channels(tmp_path: Path, cache: str) -> None:
    names = write(tmp_path, a=grey(10), b=grey(20), c=red(), d=grey(30))
    store = ImageStore.from_files(tmp_path, names, 8, cache)
    expected = [[10] * 3, [20] * 3, [255, 0, 0], [30] * 3]
    np.testing.assert_array_equal(store.images[:, :, 3, 3], expected)


def test_pixels_are_selected_and_resized() -> None:
    pixels = np.stack([grey(value, 6) for value in (1, 2, 3)])
    store = ImageStore.from_pixels(pixels, np.array([2, 0]), 3)
    assert store.images.shape == (2, 1, 3, 3)
    np.testing.assert_array_equal(store.images[:, 0, 0, 0], [3, 1])


def test_bad_pictures_are_left_out_and_named(tmp_path: Path) -> None:
    names = write(tmp_path, a=grey(1), broken=b"no picture", c=grey(3))
    store = ImageStore.from_files(tmp_path, [*names, "missing.png"], 8)
    assert store.kept.tolist() == [0, 2]
    np.testing.assert_array_equal(store.images[:, 0, 0, 0], [1, 3])
    assert store.bad == {"broken.png": "not a picture in a known format", "missing.png": "no such file"}


def test_nothing_readable_is_an_empty_store(tmp_path: Path) -> None:
    store = ImageStore.from_files(tmp_path, ["missing.png"], 8)
    assert store.images.shape == (0, 1, 8, 8)


@pytest.mark.parametrize("reserve", [True, False])
def test_a_temporary_file_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reserve: bool) -> None:
    if not reserve:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    store = ImageStore.from_files(tmp_path, write(tmp_path, a=grey(7)), 8, "disk")
    assert store.images[0, 0, 0, 0] == 7
    assert not list((tmp_path / "scratch").iterdir())


def test_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(DataError, match=r"No space left on device.*TMPDIR"):
        ImageStore.from_files(tmp_path, write(tmp_path, a=grey(7)), 8, "disk")


def test_auto_takes_the_disk_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names = write(tmp_path, a=grey(7))
    monkeypatch.setattr(store_module, "available_memory", lambda: 127)
    with caplog.at_level(logging.INFO, "eac_lightning"):
        small = ImageStore.from_files(tmp_path, names, 8)
        monkeypatch.setattr(store_module, "available_memory", lambda: 128)
        large = ImageStore.from_files(tmp_path, names, 8)
    assert isinstance(small.images, np.memmap)
    assert not isinstance(large.images, np.memmap)
    assert "memory-mapped" in caplog.messages[0]
    assert "RAM" in caplog.messages[1]


def test_an_unknown_cache_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'disk'"):
        ImageStore.from_files(tmp_path, [], 8, "disc")


def test_memory_is_shared_among_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    alone = available_memory()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert 0 < available_memory() < alone / 2


def test_memory_is_bounded_by_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {
        "meminfo": "MemTotal: 9 kB\nMemAvailable: 4 kB\n",
        "memory.max": "3000\n",
        "memory.current": "1000",
    }
    monkeypatch.setattr(Path, "read_text", lambda self: contents[self.name])
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert available_memory() == 2000
    contents["memory.max"] = "max"
    assert available_memory() == 4096


def test_memory_without_procfs(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(self: Path, *args: object) -> str:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", unreadable)
    assert available_memory() > 1e6
    monkeypatch.delattr(os, "sysconf")
    assert available_memory() == 0


def test_bad_pictures_are_all_listed() -> None:
    bad = {f"{i}.png": "no such file" for i in range(25)}
    with pytest.raises(DataError, match=r"25 of 40(.|\n)*19\.png: no such file\n  … and 5 more") as caught:
        report_bad_images(bad, "error", 40)
    assert "20.png" not in str(caught.value)


def test_skipped_pictures_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    report_bad_images({"a.png": "truncated"}, "skip", 3)
    assert "Left out 1 of 3 pictures" in caplog.text
    caplog.clear()
    report_bad_images({}, "error", 3)
    assert not caplog.text


def test_skipping_everything_is_refused() -> None:
    with pytest.raises(DataError, match="1 of 1 pictures cannot be read"):
        report_bad_images({"a.png": "truncated"}, "skip", 1)


def test_an_unknown_policy_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'skip'"):
        report_bad_images({}, "skp", 1)

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from eac_lightning.data import store_file
from eac_lightning.data.sources import FilePictures
from eac_lightning.data.store import ImageStore
from eac_lightning.data.store_file import VARIABLE, StoreFile, cache_folder
from eac_lightning.errors import DataError
from tests.data.painting import count_decoding, grey, paint, red


def files(suffix: str) -> list[Path]:
    return sorted(Path(os.environ[VARIABLE]).rglob(f"*{suffix}"))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"0")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove(path: Path) -> None:
    path.unlink()


def fill(content: bytes) -> object:
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(
    ("suffix", "spoil"),
    [
        (".pixels", cut),
        (".pixels", lengthen),
        (".pixels", flip),
        (".pixels", remove),
        (".json", remove),
        *((".json", fill(text)) for text in (b"", b"{", b"\xff\xfe", b"[]", b"1", b"null", b"{}", b'{"bad": {}}')),
        (".json", fill(b'{"bad": [], "shape": 1}')),
    ],
)
def test_what_is_damaged_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, spoil: object
) -> None:
    source = paint(tmp_path, a=grey(10), b=red())
    whole = np.array(ImageStore.build(source, 8).images)
    seen = count_decoding(monkeypatch)
    (path,) = files(suffix)
    spoil(path)  # type: ignore[operator]
    np.testing.assert_array_equal(ImageStore.build(source, 8).images, whole)
    assert len(seen) == 2
    np.testing.assert_array_equal(ImageStore.build(source, 8).images, whole)
    assert len(seen) == 2


@pytest.mark.parametrize(
    "change", [{"version": 0}, {"shape": [2, 3, 8]}, {"shape": [2, 3, 8, 9]}, {"shape": "8"}, {"more": 1}]
)
def test_a_header_of_something_else_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    source = paint(tmp_path, a=grey(10), b=red())
    ImageStore.build(source, 8)
    (header,) = files(".json")
    header.write_text(json.dumps(json.loads(header.read_text()) | change))
    seen = count_decoding(monkeypatch)
    assert ImageStore.build(source, 8).images.shape == (2, 3, 8, 8)
    assert len(seen) == 2


def test_damage_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = paint(tmp_path, a=grey(10))
    ImageStore.build(source, 8)
    flip(*files(".pixels"))
    ImageStore.build(source, 8)
    assert "damaged" in caplog.text


def test_a_checksum_of_many_blocks_is_of_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_file, "_BLOCK", 10)
    monkeypatch.setattr(store_file, "_BLOCKS", 4)
    images = np.arange(85, dtype=np.uint8)  # nine blocks, of which those at 0, 30 and 60 count
    known = store_file.checksum(images)
    for position in range(85):
        other = images.copy()
        other[position] ^= 1
        assert (store_file.checksum(other) == known) == (position // 10 % 3 != 0)


def test_nothing_is_left_of_a_store_but_pixels_header_and_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)  # other systems have none
    source = paint(tmp_path, a=grey(7), broken=b"", c=red())
    assert ImageStore.build(source, 8).images[:, 1, 0, 0].tolist() == [7, 0]
    (folder,) = Path(os.environ[VARIABLE]).iterdir()
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".lock", ".pixels"]
    (pixels,) = files(".pixels")
    assert pixels.stat().st_size == 2 * 3 * 8 * 8


day = 24 * 3600


def age_by(seconds: int, *paths: Path) -> None:
    for path in paths:
        os.utime(path, (time.time() - seconds,) * 2)


def test_stores_that_nothing_reads_for_a_month_are_removed(tmp_path: Path) -> None:
    sources = [paint(tmp_path / name, a=grey(number)) for number, name in enumerate("abcd")]
    stores = [StoreFile(source.place, source.names, 8) for source in sources]
    for source, file, age in zip(sources[:3], stores, (29, 31, 31), strict=False):
        ImageStore.build(source, 8)
        age_by(age * day, file.header, file.pixels)
    unfinished = [stores[0].folder / f".{name}.pixels.partial" for name in ("old", "new")]
    for path, age in zip(unfinished, (31, 1), strict=True):
        path.touch()
        age_by(age * day, path)
    ImageStore.build(sources[2], 8)  # which is being read
    ImageStore.build(sources[3], 8)
    assert [file.header.exists() for file in stores] == [True, False, True, True]
    assert [file.pixels.exists() for file in stores] == [True, False, True, True]
    assert [path.exists() for path in unfinished] == [False, True]


def test_it_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == Path(os.environ[VARIABLE])
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/eac_lightning")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/eac_lightning")


def test_names_of_any_bytes(tmp_path: Path) -> None:
    names = [os.fsdecode(b"\xff.png"), "ü\n.png"]
    paint(tmp_path, a=grey(3))
    for name in names:
        (tmp_path / name).write_bytes((tmp_path / "a.png").read_bytes())
    source = FilePictures(tmp_path, [*names, os.fsdecode(b"\xfe.png")])
    for _ in range(2):
        assert ImageStore.build(source, 8).bad == {os.fsdecode(b"\xfe.png"): "no such file"}


BUILDING = """
import sys, time
from pathlib import Path
from eac_lightning.data import sources
from eac_lightning.data.store import ImageStore

decode, folder = sources.decode_image, Path(sys.argv[1])

def counting(path):
    with (folder / "decoded").open("a") as file:
        file.write(path.name + "\\n")
    time.sleep(0.05)
    return decode(path)

sources.decode_image = counting
(folder / sys.argv[2]).touch()
while not (folder / "go").exists():
    time.sleep(0.01)
store = ImageStore.build(sources.FilePictures(folder / "faces", [f"p{n}.png" for n in range(8)]), 8)
print(store.images[:, 0, 0, 0].tolist(), store.kept.tolist(), store.bad)
"""


def test_of_two_processes_one_decodes_and_the_other_waits(tmp_path: Path) -> None:
    paint(tmp_path / "faces", **{f"p{n}": b"" if n == 3 else grey(n) for n in range(8)})
    processes = [
        subprocess.Popen([sys.executable, "-c", BUILDING, tmp_path, name], stdout=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    while not all((tmp_path / name).exists() for name in "ab"):
        time.sleep(0.05)
    (tmp_path / "go").touch()
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert said[0] == said[1]
    assert said[0].startswith("[0, 1, 2, 4, 5, 6, 7] [0, 1, 2, 4, 5, 6, 7] {'p3.png': ")
    # What is bad is tried once more by who finds it decoded.
    assert sorted((tmp_path / "decoded").read_text().split()) == [f"p{n}.png" for n in (0, 1, 2, 3, 3, 4, 5, 6, 7)]


def test_the_stores_unread_for_longest_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [paint(tmp_path / name, a=grey(number, 64)) for number, name in enumerate("abcd")]
    stores = [StoreFile(source.place, source.names, 64) for source in sources]
    for source in sources:
        ImageStore.build(source, 64)
    age_by(3 * day, stores[0].header, stores[0].pixels)
    age_by(9 * day, stores[1].header, stores[1].pixels, stores[3].header, stores[3].pixels)
    ImageStore.build(sources[0], 64)  # which is being read
    age_by(2 * day, stores[0].header)
    monkeypatch.setattr(store_file, "_ROOM", 4 * 64**2)  # without the headers
    stores[3].create((1, 64, 64))  # made anew, which is not what makes room
    assert [file.header.exists() for file in stores] == [True, False, True, True]
    monkeypatch.setattr(store_file, "_ROOM", 0)
    stores[3].create((1, 64, 64))
    assert [file.pixels.exists() for file in stores] == [False, False, True, True]  # of today


def test_pixels_without_a_header_are_removed_and_locks_stay(tmp_path: Path) -> None:
    source = paint(tmp_path, a=grey(1))
    folder = StoreFile(source.place, source.names, 8).folder
    folder.mkdir(parents=True)
    for name in ("old.pixels", "old.lock", "new.pixels"):
        (folder / name).touch()
    age_by(31 * day, folder / "old.pixels", folder / "old.lock")
    ImageStore.build(source, 8)
    assert [(folder / name).exists() for name in ("old.pixels", "old.lock", "new.pixels")] == [False, True, True]


def test_no_header_stands_beside_the_pixels_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = paint(tmp_path, a=grey(1))
    ImageStore.build(source, 8)
    paint(tmp_path, a=grey(2, 9))

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store_file, "replacing", killed)
    with pytest.raises(KeyboardInterrupt):
        ImageStore.build(source, 8)
    assert len(files(".pixels")) == 1
    assert not files(".json")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="tells what is mapped")
def test_what_is_cut_and_replaced_is_not_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace
    seen: list[bool] = []

    def noted(self: Path, target: Path) -> Path:
        seen.append(str(self.parent) in Path("/proc/self/maps").read_text())
        return replace(self, target)

    source = paint(tmp_path, a=grey(1), b=b"bad")
    monkeypatch.setattr(Path, "replace", noted)
    first = ImageStore.build(source, 8)
    assert seen == [False, False]
    assert str(files(".pixels")[0]) in Path("/proc/self/maps").read_text()
    del first


def test_a_user_without_a_home_is_told_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(DataError, match=f"home directory. Choose another place with the variable {VARIABLE}"):
        cache_folder()


def test_a_store_that_another_process_removes_meanwhile_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = paint(tmp_path, a=grey(7))
    ImageStore.build(source, 8)

    def gone(path: Path) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "utime", gone)
    assert ImageStore.build(source, 8, "disk").images[0, 0, 0, 0] == 7
    mapped = StoreFile._mapped

    def removed(self: StoreFile, shape: tuple[int, ...]) -> np.ndarray:
        images = mapped(self, shape)
        self.pixels.unlink()
        return images

    monkeypatch.setattr(StoreFile, "_mapped", removed)
    assert ImageStore.build(source, 8, "disk").images[0, 0, 0, 0] == 7

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eac_lightning._files import making, replacing
from eac_lightning.errors import StorageError


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


FULL = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]


def test_a_file_is_there_once_the_block_is_done(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    with replacing(path) as partial:
        partial.write_text("whole")
        assert partial.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "whole"
    assert listed(path.parent) == ["file.txt"]


def half_written(path: Path, error: BaseException) -> None:
    with replacing(path) as partial:
        partial.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), OSError(errno.EACCES, "mine")])
def test_what_goes_wrong_is_passed_on_and_changes_nothing(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file.txt"
    path.write_text("before")
    with pytest.raises(type(error)) as caught:
        half_written(path, error)
    assert caught.value is error
    assert path.read_text() == "before"
    assert listed(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("number", FULL)
def test_a_full_disk_is_explained(tmp_path: Path, number: int) -> None:
    path = tmp_path / "file.txt"
    path.write_text("before")
    with pytest.raises(StorageError, match=f"no space to write {path} .*unchanged. Make room in {tmp_path}") as caught:
        half_written(path, OSError(number, os.strerror(number)))
    assert os.strerror(number) in str(caught.value)
    assert path.read_text() == "before"
    assert listed(tmp_path) == ["file.txt"]


def test_a_full_disk_is_recognised_in_what_a_library_makes_of_it(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    raised, handled = RuntimeError("unexpected pos"), RuntimeError("unexpected pos")
    raised.__cause__, handled.__context__ = full, full
    for error in (raised, handled):
        with pytest.raises(StorageError, match="No space left"):
            half_written(tmp_path / "file.txt", error)


def test_file_and_folder_are_synced_before_and_after_the_renaming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []
    sync = os.fsync

    def noted(handle: int) -> None:
        seen.append((str(Path(f"/proc/self/fd/{handle}").readlink()), ",".join(listed(tmp_path))))
        sync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    with replacing(tmp_path / "file.txt") as partial:
        partial.write_text("whole")
    assert seen == [(str(partial), partial.name), (str(tmp_path), "file.txt")]


def test_a_file_is_synced_as_one_that_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    opened = os.open

    def noted(name: Path, flags: int) -> int:
        seen.append(flags)
        return opened(name, flags)

    with replacing(tmp_path / "file.txt") as partial:
        partial.write_text("whole")
        monkeypatch.setattr(os, "open", noted)
    assert seen == [os.O_RDWR, os.O_RDONLY]


def test_a_file_that_the_disk_refuses_at_last_takes_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    path.write_text("before")

    def refused(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(StorageError, match="no space"), replacing(path) as partial:
        partial.write_text("whole")
    assert path.read_text() == "before"


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sync = tmp_path / "file.txt", os.open

    def no_folders(name: str | Path, flags: int, *args: int) -> int:
        if Path(name).is_dir():
            raise PermissionError(errno.EACCES, "a folder", str(name))
        return sync(name, flags, *args)

    monkeypatch.setattr(os, "open", no_folders)
    with replacing(path) as partial:
        partial.write_text("whole")
    assert path.read_text() == "whole"


LIMITED = """
import resource, sys
from pathlib import Path
from eac_lightning._files import replacing
from eac_lightning.errors import StorageError

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    with replacing(Path(sys.argv[1])) as partial:
        {write}
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize("write", ["partial.write_bytes(bytes(2000))", "import torch; torch.save(torch.zeros(9999), partial.open('wb'))"])  # fmt: skip
def test_a_limit_of_the_system_is_a_full_disk(tmp_path: Path, write: str) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(write=write), path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"There is no space to write {path} (File too large)" in done.stdout
    assert path.read_text() == "before"
    assert listed(tmp_path) == ["file"]


def test_a_folder_is_there_once_the_block_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    folder.mkdir(parents=True)  # empty
    (folder.parent / ".out.partial").mkdir()  # of a process that was killed
    (folder.parent / ".out.partial" / "old").touch()
    with making(folder) as partial:
        (partial / "part").touch()
        assert not list(folder.iterdir())
    assert listed(folder) == ["part"]
    assert listed(folder.parent) == ["out"]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ValueError("mine"), ValueError),
        (OSError(errno.ENOSPC, "full"), StorageError),
        (StorageError("ours"), StorageError),
    ],
)
def test_a_folder_that_is_not_finished_is_none(tmp_path: Path, error: Exception, raised: type[Exception]) -> None:
    def half_made(folder: Path) -> None:
        with making(folder) as partial:
            (partial / "part").touch()
            raise error

    with pytest.raises(raised) as caught:
        half_made(tmp_path / "out")
    assert caught.value is error or "no space" in str(caught.value)
    assert not listed(tmp_path)


def test_what_has_been_explained_is_not_explained_again(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match="write .*inner") as caught,
        making(tmp_path / "outer") as folder,
        replacing(folder / "inner"),
    ):
        raise OSError(errno.ENOSPC, "full")
    assert str(caught.value).count("no space") == 1


def test_a_folder_that_holds_something_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(OSError, match="not empty"), making(tmp_path / "out") as partial:
        (partial / "part").touch()
    assert listed(tmp_path / "out") == ["mine"]

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eac_lightning.data import sources
from eac_lightning.data.annotations import Annotations, read_annotations
from eac_lightning.data.sources import AnnotatedPictures, FilePictures, decoded, local_processes, prepare
from eac_lightning.data.store import ImageStore
from tests.data.painting import grey, paint, red


def annotations(root: Path, boxes: np.ndarray | None = None, images: np.ndarray | None = None) -> Annotations:
    """Return three faces: files a, b and c, or two in one file if there are boxes."""
    paint(root / "train/anger", a=grey(10), b=grey(20))
    paint(root / "train/happiness", c=red())
    read = read_annotations(root, val_fraction=0)
    paths = [f"train/anger/a.png#{n}" for n in range(3)]
    table = read.table if boxes is None else read.table.assign(path=paths)
    return Annotations(table, read.class_names, read.layout, root, images=images, boxes=boxes)


def test_pictures_of_a_data_set(tmp_path: Path) -> None:
    data = annotations(tmp_path)
    source = AnnotatedPictures(data, np.array([2, 0]))
    assert source.names == data.table["path"].iloc[[2, 0]].tolist()
    assert source.place == str(tmp_path.resolve())
    np.testing.assert_array_equal(source.picture(0), data.picture(2))


def test_pixels_are_selected_and_resized(tmp_path: Path) -> None:
    pixels = np.stack([grey(value, 6) for value in (1, 2, 3)])
    source = AnnotatedPictures(annotations(tmp_path, images=pixels), np.array([2, 0]))
    store = ImageStore.build(source, 3)
    assert store.images.shape == (2, 1, 3, 3)
    np.testing.assert_array_equal(store.images[:, 0, 0, 0], [3, 1])


def test_a_fingerprint_of_files_tells_size_time_and_absence(tmp_path: Path) -> None:
    source = paint(tmp_path, a=grey(1), b=grey(2))
    seen = [source.fingerprint()]
    assert FilePictures(tmp_path, list(source.names)).fingerprint() == seen[0]
    os.utime(tmp_path / "a.png", ns=(0, 1))
    seen.append(source.fingerprint())
    (tmp_path / "a.png").write_bytes(b"x")
    os.utime(tmp_path / "a.png", ns=(0, 1))
    seen.append(source.fingerprint())
    about = (tmp_path / "a.png").stat()
    while (tmp_path / "a.png").stat().st_ctime_ns == about.st_ctime_ns:  # some clocks are slow
        (tmp_path / "a.png").write_bytes(b"y")
        os.utime(tmp_path / "a.png", ns=(0, 1))
    seen.append(source.fingerprint())
    (tmp_path / "a.png").unlink()
    seen.append(source.fingerprint())
    seen.append(FilePictures(tmp_path, ["b.png", "a.png"]).fingerprint())
    assert len(set(seen)) == 6


def test_a_fingerprint_tells_the_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = paint(tmp_path, a=grey(1))
    before = source.fingerprint()
    monkeypatch.setattr(sources.PIL, "__version__", "0.0")
    assert source.fingerprint() != before


def test_a_fingerprint_of_a_data_set_tells_boxes_and_pixels(tmp_path: Path) -> None:
    rows = np.array([0, 1, 2])
    boxes = np.array([[0, 0, 4, 4], [1, 1, 5, 5], [2, 2, 6, 6]], np.int32)
    pixels = np.stack([grey(value) for value in (1, 2, 3)])
    moved, changed = boxes.copy(), pixels.copy()
    moved[1, 0] += 1
    changed[1, 4, 4] += 1
    told = [
        AnnotatedPictures(data, rows).fingerprint()
        for data in (
            annotations(tmp_path / "files"),
            annotations(tmp_path / "boxes", boxes),
            annotations(tmp_path / "moved", moved),
            annotations(tmp_path / "pixels", images=pixels),
            annotations(tmp_path / "changed", images=changed),
        )
    ]
    assert len(set(told)) == 5
    first = AnnotatedPictures(annotations(tmp_path / "again", images=changed), rows[:1]).fingerprint()
    assert first == AnnotatedPictures(annotations(tmp_path / "and again", images=pixels), rows[:1]).fingerprint()


def test_the_picture_around_a_box_is_a_part_of_its_fingerprint(tmp_path: Path) -> None:
    boxes = np.array([[0, 0, 4, 4]] * 3, np.int32)
    source = AnnotatedPictures(annotations(tmp_path, boxes), np.arange(3))
    before = source.fingerprint()
    os.utime(tmp_path / "train/anger/a.png", ns=(0, 1))
    assert source.fingerprint() != before


def test_a_box_that_moves_makes_the_store_anew(tmp_path: Path) -> None:
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    boxes = np.array([[0, 0, 2, 2], [2, 2, 4, 4], [4, 4, 6, 6]], np.int32)
    data = annotations(tmp_path, boxes)
    Image.fromarray(picture).save(tmp_path / "train/anger/a.png")
    source = AnnotatedPictures(data, np.arange(3))
    assert ImageStore.build(source, 2).images[:, 0, 0, 0].tolist() == [0, 18, 36]
    boxes[1] = [3, 3, 5, 5]
    assert ImageStore.build(source, 2).images[:, 0, 0, 0].tolist() == [0, 27, 36]


def test_a_bad_picture_is_its_reason(tmp_path: Path) -> None:
    source = paint(tmp_path, a=grey(10, 4), bad=b"nothing")
    assert prepare(source, 0, 2).shape == (2, 2)  # type: ignore[union-attr]
    assert prepare(source, 1, 2) == "not a picture in a known format"


def test_many_pictures_are_decoded_by_other_processes_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = {f"p{n:03d}": b"bad" if n == 70 else red() if n == 90 else grey(n) for n in range(130)}
    source = paint(tmp_path, **pictures)
    alone = ImageStore.build(source, 8, "ram")
    monkeypatch.setattr(sources, "_WORTH_WORKERS", 130)
    monkeypatch.setattr(sources, "_cores", lambda: 2)
    here: list[int] = []
    monkeypatch.setattr(sources, "prepare", lambda *args: here.append(1) or prepare(*args))
    state = torch.random.get_rng_state()
    shared = ImageStore.build(source, 8, "ram")
    assert not here
    assert torch.equal(state, torch.random.get_rng_state())
    np.testing.assert_array_equal(shared.images, alone.images)
    assert shared.kept.tolist() == alone.kept.tolist()
    assert shared.bad == alone.bad == {"p070.png": "not a picture in a known format"}


def test_one_core_needs_no_other_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_WORTH_WORKERS", 1)
    monkeypatch.setattr(sources, "_cores", lambda: 1)
    here: list[int] = []
    monkeypatch.setattr(sources, "prepare", lambda *args: here.append(1) or prepare(*args))
    assert len(list(decoded(paint(tmp_path, a=grey(1)), 8))) == len(here) == 1


def test_cores_are_shared_among_the_processes_of_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    assert sources._cores() == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "9")
    assert (local_processes(), sources._cores()) == (9, 1)
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "process_cpu_count", lambda: 5, raising=False)
    assert (local_processes(), sources._cores()) == (1, 5)


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ({"SLURM_STEP_TASKS_PER_NODE": "4(x2),3", "SLURM_NTASKS_PER_NODE": "8"}, 4),
        ({"SLURM_NTASKS_PER_NODE": "8"}, 8),
        ({"SLURM_NTASKS_PER_NODE": "8", "LOCAL_WORLD_SIZE": "2"}, 2),
        ({"LOCAL_WORLD_SIZE": "auto", "WORLD_SIZE": "3"}, 3),
        ({"LOCAL_WORLD_SIZE": "0"}, 1),
    ],
)
def test_launchers_say_how_many_processes_there_are(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, str], count: int
) -> None:
    for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE", "SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert local_processes() == count
    monkeypatch.delenv("SLURM_PROCID")  # what a job asks for is not yet a step of it
    assert local_processes() == (count if "LOCAL_WORLD_SIZE" in said else 1)

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.shards.loading import ShardedFaces
from eac_lightning.data.shards.manifest import MANIFEST
from eac_lightning.data.shards.pack import pack
from eac_lightning.errors import ConfigurationError, DataError
from tests.conftest import make_faces, make_fer2013


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def column(folder: Path, name: str, split: str = "train") -> list[object]:
    values: list[object] = []
    for path in sorted(folder.glob(f"{split}-*.arrow")):
        values += pa.ipc.open_file(str(path)).get_batch(0).column(name).to_pylist()
    return values


class Stop(Exception):
    pass


def test_files_are_kept_byte_for_byte_with_what_is_known_of_them(packed: Path) -> None:
    faces = packed.parent / "faces"
    table = read_annotations(faces).table
    for split in ("train", "val", "test"):
        index = column(packed, "index", split)
        assert sorted(index) == table.index[table["split"] == split].tolist()  # type: ignore[type-var]
        rows = table.loc[index]
        assert column(packed, "label", split) == rows["label"].tolist()
        assert column(packed, "path", split) == [path.encode() for path in rows["path"]]
        assert column(packed, "image", split) == [(faces / path).read_bytes() for path in rows["path"]]


def test_every_shard_is_a_random_sample(packed: Path) -> None:
    manifest = ShardedFaces(packed).manifest
    assert len(manifest.splits["train"]) == 11
    # The folder lists class after class, so that in its order shards would have one class each.
    assert all(np.count_nonzero(shard.classes) > 1 for shard in manifest.splits["train"])


def test_the_same_command_writes_the_same_bytes_and_another_seed_others(packed: Path) -> None:
    faces = packed.parent / "faces"
    pack(read_annotations(faces), packed.parent / "again", shard_bytes=8000)
    pack(read_annotations(faces), packed.parent / "other", shard_bytes=8000, seed=1)
    assert contents(packed.parent / "again") == contents(packed)
    assert column(packed, "index") != column(packed.parent / "other", "index")


@pytest.mark.parametrize("stop", [11, 50, 130, 162])
def test_an_interrupted_run_goes_on_to_the_same_bytes(packed: Path, stop: int) -> None:
    out = packed.parent / "stopped"

    def progress(done: int, total: int) -> None:
        assert total == 162
        if done >= stop:
            raise Stop

    with pytest.raises(Stop):
        pack(read_annotations(packed.parent / "faces"), out, shard_bytes=8000, progress=progress)
    assert not (out / MANIFEST).exists()
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.arrow")}
    pack(read_annotations(packed.parent / "faces"), out, shard_bytes=8000)
    assert contents(out) == contents(packed)
    assert all(path.stat().st_mtime_ns == written for path, written in before.items())


def test_a_run_killed_by_sigkill_goes_on_to_the_same_bytes(packed: Path) -> None:
    out = packed.parent / "killed"
    code = "import sys, time; from eac_lightning.data.shards.pack import pack\n"
    code += "from eac_lightning.data.annotations import read_annotations\n"
    code += "assert 'torch' not in sys.modules\n"
    code += "pack(read_annotations(sys.argv[1]), sys.argv[2], shard_bytes=8000, progress=lambda *_: time.sleep(0.05))"
    running = subprocess.Popen([sys.executable, "-c", code, str(packed.parent / "faces"), str(out)])
    end = time.monotonic() + 60
    while not (out / "train-000004.arrow").exists() and running.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert not (out / MANIFEST).exists()
    pack(read_annotations(packed.parent / "faces"), out, shard_bytes=8000)
    assert {name: data for name, data in contents(out).items() if name[0] != "."} == contents(packed)


def test_faces_are_resized_when_asked(tmp_path: Path) -> None:
    make_faces(tmp_path / "faces", (4, 2, 2), size=40)
    sizes = {}
    for name, quality in (("png", None), ("jpeg", 90)):
        pack(read_annotations(tmp_path / "faces"), tmp_path / name, size=24, quality=quality)
        picture = column(tmp_path / name, "image")[0]
        sizes[name] = len(picture)  # type: ignore[arg-type]
        loaded = ShardedFaces(tmp_path / name, size=24).dataset("train")[0]["image"]
        assert loaded.shape == (3, 24, 24)
    assert sizes["jpeg"] < sizes["png"]


def test_pixels_of_a_table_and_votes_are_packed(tmp_path: Path) -> None:
    votes = [("happiness", {"happiness": 8, "neutral": 2}), ("neutral", {"neutral": 10}), ("anger", {"anger": 6})] * 4
    root = make_fer2013(tmp_path / "fer", votes, ("Training", "Training", "Training", "PublicTest", "PrivateTest"))
    classes = ["anger", "happiness", "neutral"]
    annotations = read_annotations(root, "ferplus", classes=classes)
    manifest = pack(annotations, tmp_path / "shards")
    assert (manifest.grey, manifest.votes) == (True, True)
    faces = ShardedFaces(tmp_path / "shards", size=48, soft=True).dataset("train")
    batch = faces[list(range(len(faces)))]
    index = batch["index"].numpy()
    assert annotations.images is not None
    assert annotations.soft_labels is not None
    assert np.array_equal(batch["image"].numpy()[:, 0], annotations.images[index])
    assert np.array_equal(batch["soft_label"].numpy(), annotations.soft_labels[index])


def test_a_bad_picture_stops_or_is_left_out_and_told(tmp_path: Path) -> None:
    make_faces(tmp_path / "faces", (4, 2, 2))
    bad = tmp_path / "faces" / "train" / "anger" / "1.png"
    bad.write_bytes(b"<html>")
    with pytest.raises(DataError, match="anger/1.png in .* cannot be packed: .*on_bad_image='skip'"):
        pack(read_annotations(tmp_path / "faces"), tmp_path / "shards")
    manifest = pack(read_annotations(tmp_path / "faces"), tmp_path / "skipped", on_bad_image="skip")
    assert manifest.class_counts("train").tolist() == [3, 4, 4]
    assert any("Left out 1 pictures that cannot be packed (train/anger/1.png: " in note for note in manifest.notes)


def test_many_bad_pictures_are_one_note(tmp_path: Path) -> None:
    make_faces(tmp_path / "faces", (12, 2, 2))
    for name in ("anger", "happiness", "neutral"):
        for i in range(10):
            (tmp_path / "faces" / "train" / name / f"{i}.png").write_bytes(b"")
    manifest = pack(read_annotations(tmp_path / "faces"), tmp_path / "shards", on_bad_image="skip")
    told = [note for note in manifest.notes if "Left out" in note]
    assert len(told) == 1
    assert told[0].startswith("Left out 30 pictures")
    assert told[0].endswith("; and 10 more).")
    assert told[0].count(".png") == 20


@pytest.mark.parametrize("name", ["", "shards", "train/shards", ".."])
def test_shards_are_not_written_into_the_data_set_nor_around_it(tmp_path: Path, name: str) -> None:
    annotations = read_annotations(make_faces(tmp_path / "all" / "faces", (2, 1, 1)))
    with pytest.raises(ConfigurationError, match="shards beside the data set in .*faces, but .* is in it or around"):
        pack(annotations, annotations.root / name)


@pytest.mark.parametrize("field", ["votes", "boxes"])
def test_votes_and_boxes_are_part_of_the_data(packed: Path, field: str) -> None:
    annotations = read_annotations(packed.parent / "faces")
    width = {"votes": 3, "boxes": 4}[field]
    boxes = {field: np.tile(np.arange(width, dtype=np.int32) * 4, (162, 1))}
    if field == "boxes":
        names = [f"{name}#0" for name in annotations.table["path"]]
        annotations = replace(annotations, table=annotations.table.assign(path=names))
    annotations = replace(annotations, **boxes)
    out = packed.parent / "out"
    pack(annotations, out)
    pack(annotations, out)
    with pytest.raises(ConfigurationError, match=r"from other data \(table"):
        pack(replace(annotations, **{field: boxes[field] + 1}), out)


def test_nothing_else_is_written_over(packed: Path) -> None:
    faces = packed.parent / "faces"
    with pytest.raises(ConfigurationError, match="begun with other settings .*shard_bytes: 8000, now 9000"):
        pack(read_annotations(faces), packed, shard_bytes=9000)
    make_faces(packed.parent / "other")
    with pytest.raises(DataError, match="new or empty folder, but .*other holds something else"):
        pack(read_annotations(faces), packed.parent / "other")
    (faces / "train" / "anger" / "0.png").rename(faces / "train" / "anger" / "new.png")
    with pytest.raises(ConfigurationError, match=r"from other data \(table"):
        pack(read_annotations(faces), packed, shard_bytes=8000)


def test_damaged_settings_of_an_earlier_run_are_named(packed: Path) -> None:
    (packed / "packing.json").write_text("[3]")
    with pytest.raises(DataError, match="packing.json is damaged"):
        pack(read_annotations(packed.parent / "faces"), packed, shard_bytes=8000)


def test_a_damaged_shard_of_an_earlier_run_is_named(packed: Path) -> None:
    (packed / "train-000003.arrow").write_bytes(b"ARROW1")
    with pytest.raises(DataError, match="train-000003.arrow is no whole shard"):
        pack(read_annotations(packed.parent / "faces"), packed, shard_bytes=8000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "Expected size from 1 to 8192, but got 0"),
        ({"quality": 100}, "Expected quality from 1 to 95, but got 100"),
        ({"shard_bytes": 3_000_000_000}, "Expected shard_bytes from 1 to"),
        ({"on_bad_image": "skp"}, "Did you mean 'skip'"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, options: dict[str, int], message: str) -> None:
    annotations = read_annotations(make_faces(tmp_path / "faces", (2, 1, 1)))
    with pytest.raises(ConfigurationError, match=message):
        pack(annotations, tmp_path / "shards", **options)  # type: ignore[arg-type]


def test_a_picture_of_one_colour_only_makes_the_data_coloured(tmp_path: Path) -> None:
    make_faces(tmp_path / "faces", (4, 2, 2))
    for path in (tmp_path / "faces").rglob("*.png"):
        Image.open(path).convert("L").save(path)
    assert pack(read_annotations(tmp_path / "faces"), tmp_path / "grey").grey
    Image.new("RGB", (16, 16), "red").save(tmp_path / "faces" / "val" / "anger" / "0.png")
    assert not pack(read_annotations(tmp_path / "faces"), tmp_path / "colour").grey
    image = ShardedFaces(tmp_path / "colour", size=16).dataset("train")[3]["image"]
    assert image.shape == (3, 16, 16)
    assert bool((image[0] == image[2]).all())

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.decoding import resize_square
from eac_lightning.data.shards.dataset import ShardDataset
from eac_lightning.data.shards.loading import ShardedFaces
from eac_lightning.data.shards.pack import pack
from eac_lightning.errors import DataError
from tests.data.shards.conftest import declare


def test_shards_give_the_pixels_and_labels_that_the_files_give(packed: Path) -> None:
    annotations = read_annotations(packed.parent / "faces")
    faces = ShardedFaces(packed, size=24).dataset("train")
    batch = faces.__getitems__([119, 3, 57, 3])
    assert set(batch) == {"image", "label", "index"}
    for image, label, index in zip(batch["image"], batch["label"], batch["index"].tolist(), strict=True):
        assert np.array_equal(image, resize_square(annotations.picture(index), 24).transpose(2, 0, 1))
        assert int(label) == annotations.table["label"].iat[index]
    assert int(batch["index"][1]) == int(batch["index"][3])
    assert {key: value.shape for key, value in faces[3].items()} == {"image": (3, 24, 24), "label": (), "index": ()}  # type: ignore[attr-defined]


def test_evaluation_judges_by_the_clean_label(tmp_path: Path, packed: Path) -> None:
    rows = ["path,label,clean_label,split"]
    for split in ("train", "val"):
        for name in ("anger", "happiness", "neutral"):
            for i in range(4):
                clean = ("happiness", "")[i % 2] if split == "val" else name
                rows.append(f"{split}/{name}/{i}.png,{name},{clean},{split}")
    (tmp_path / "faces" / "labels.csv").write_text("\n".join(rows))
    pack(read_annotations(tmp_path / "faces" / "labels.csv"), tmp_path / "table")
    data = ShardedFaces(tmp_path / "table", size=16)
    val = data.dataset("val")[list(range(12))]
    known = val["clean_label"] >= 0
    assert 0 < int(known.sum()) < 12
    assert bool((val["label"][known] == 1).all())
    assert set(val["label"][~known].tolist()) == {0, 1, 2}
    train = data.dataset("train")[list(range(12))]
    assert bool((train["label"] == train["clean_label"]).all())


def test_few_shards_stay_mapped_and_none_travels_to_a_worker(packed: Path) -> None:
    data = ShardedFaces(packed, size=16)
    faces = ShardDataset(data.files, data.shards("train"), 16, opened=2)
    assert len(faces) == 120
    faces[list(range(0, 120, 5))]
    assert len(faces._mapped) == 2
    copy = pickle.loads(pickle.dumps(faces))
    assert not copy._mapped
    assert np.array_equal(copy[7]["image"], faces[7]["image"])


def test_a_picture_that_cannot_be_read_is_named(packed: Path) -> None:
    path = packed / "train-000000.arrow"
    batch = pa.ipc.open_file(str(path)).get_batch(0)
    broken = pa.array([bytes(len(picture)) for picture in batch.column("image").to_pylist()], pa.binary())
    with pa.ipc.new_file(str(path), batch.schema) as file:
        file.write_batch(batch.set_column(0, batch.schema.field(0), broken))
    declare(packed, path.name)
    with pytest.raises(DataError, match=r"Face 2 of train-000000.arrow in .* \(train/.*png\): .* Pack the data set"):
        ShardedFaces(packed, size=16).dataset("train")[2]

from pathlib import Path

import numpy as np
import pytest
import torch

from eac_lightning.data.dataset import FaceDataset
from eac_lightning.data.decoded_anew import DecodedAnew
from eac_lightning.data.store import ImageStore
from eac_lightning.data.unlabelled import WithUnlabelled
from eac_lightning.errors import DataError
from tests.data.painting import count_decoding, grey, paint, red


def test_pictures_are_decoded_whenever_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = DecodedAnew(paint(tmp_path, a=grey(1, 8), b=grey(2, 16)), 4)
    seen = count_decoding(monkeypatch)
    for _ in range(2):
        batch = pictures.index_select(0, torch.tensor([1, 0, 1]))
        assert batch.dtype == torch.uint8
        assert batch.shape == (3, 1, 4, 4)
        assert batch[:, 0, 0, 0].tolist() == [2, 1, 2]
    assert seen == ["b.png", "a.png", "b.png"] * 2


def test_grey_among_colour_is_what_a_store_makes_of_it(tmp_path: Path) -> None:
    source = paint(tmp_path, a=grey(10, 12), b=red(9), c=grey(30))
    stored = torch.from_numpy(ImageStore.build(source, 8, "ram").images)
    anew = DecodedAnew(source, 8)
    assert torch.equal(anew.index_select(0, torch.tensor([2, 1, 0])), stored[[2, 1, 0]])
    assert torch.equal(anew.index_select(0, torch.tensor([0])).expand(-1, 3, -1, -1), stored[:1])


def test_a_batch_of_none_is_empty(tmp_path: Path) -> None:
    anew = DecodedAnew(paint(tmp_path, a=grey(10)), 8)
    assert anew.index_select(0, torch.tensor([], dtype=torch.int64)).shape == (0, 1, 8, 8)
    faces = FaceDataset(anew, np.array([2]), np.array([5]))
    more = WithUnlabelled(faces, np.full((2, 1, 8, 8), 200, np.uint8))
    assert more[[1, 2]]["image"].shape == (2, 1, 8, 8)


def test_a_picture_that_has_gone_is_named(tmp_path: Path) -> None:
    source = paint(tmp_path, a=grey(1), b=grey(2))
    anew = DecodedAnew(source, 8)
    (tmp_path / "b.png").unlink()
    assert anew.index_select(0, torch.tensor([0])).shape == (1, 1, 8, 8)
    with pytest.raises(DataError, match=r"^b\.png cannot be read: no such file\."):
        anew.index_select(0, torch.tensor([0, 1]))

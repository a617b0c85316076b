"""Training on the votes, and when it is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from eac_lightning import ClassificationModule, FERDataModule, SymmetricNoise
from eac_lightning.errors import ConfigurationError
from tests.conftest import CLASSES, make_faces

SMALL: dict[str, Any] = {"image_size": 16, "batch_size": 24, "seed": 0}


def write_table(root: Path, **columns: Any) -> Path:
    """Write the table of a folder of faces, on each of which six raters chose its label and two did not."""
    make_faces(root)
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    table = pd.DataFrame([path.split("/")[:2] for path in paths], columns=["split", "label"]).assign(path=paths)
    for name in CLASSES:
        table[f"votes_{name}"] = np.where(table["label"] == name, 6, 1)
    table.assign(votes_unknown=3, **columns).to_csv(root / "labels.csv", index=False)
    return root


def training_batch(data: FERDataModule) -> dict[str, torch.Tensor]:
    return dict(next(iter(data.train_dataloader())))


def test_soft_targets_are_the_distribution_of_the_votes(tmp_path: Path) -> None:
    data = FERDataModule(write_table(tmp_path), target="soft", **SMALL)
    batch = training_batch(data)
    expected = torch.full((24, 3), 1 / 8).scatter(1, batch["label"][:, None], 6 / 8)
    torch.testing.assert_close(batch["soft_label"], expected)
    assert "distribution of the votes; on 0 of 24 faces" in data.summary()
    hard = {key: value for key, value in batch.items() if key != "soft_label"}
    module = ClassificationModule(class_names=list(CLASSES), backbone="tiny").eval()
    assert module.compute_loss(batch).loss != module.compute_loss(hard).loss


@pytest.mark.parametrize(
    ("options", "soft"),
    [({}, False), ({"target": "hard", "votes": "soft"}, False), ({"votes": "soft"}, True), ({"target": "soft"}, True)],
)
def test_who_trains_on_votes(tmp_path: Path, options: dict[str, str], soft: bool) -> None:
    data = FERDataModule(write_table(tmp_path), **options, **SMALL)
    assert ("soft_label" in training_batch(data)) is soft
    assert ("distribution of the votes" in data.summary()) is soft
    assert data.annotations.votes is not None


def test_noise_is_a_certain_label(tmp_path: Path) -> None:
    data = FERDataModule(write_table(tmp_path), target="soft", noise=SymmetricNoise(0.25, exact=True), **SMALL)
    batch = training_batch(data)
    wrong = batch["label"] != batch["clean_label"]
    assert wrong.sum() == 6
    assert batch["soft_label"][wrong].max(1).values.tolist() == [1.0] * 6
    assert (batch["soft_label"][~wrong].max(1).values == 6 / 8).all()
    assert "on 6 of 24 faces, whose label they do not choose, at the label alone" in data.summary()


def test_votes_that_judge_are_not_trained_on(tmp_path: Path) -> None:
    root = write_table(tmp_path)
    table = pd.read_csv(root / "labels.csv").rename(columns={"label": "clean_label"})
    table.assign(label=table["clean_label"].where(table.index > 0, "happiness")).to_csv(
        root / "labels.csv", index=False
    )
    with pytest.raises(ConfigurationError, match=r"on 1 faces in .* training would be told the truth"):
        FERDataModule(root, target="soft", **SMALL).summary()
    assert "soft_label" not in training_batch(FERDataModule(root, **SMALL))


def test_no_votes_to_train_on(faces: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Expected raters' votes .*bring none. FER\+ does"):
        FERDataModule(faces, target="soft", **SMALL).summary()


def test_an_unknown_target(faces: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Unknown target 'sof'. Did you mean 'soft'"):
        FERDataModule(faces, target="sof")

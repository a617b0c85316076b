"""A data module on shards, beside the same one on the folder that was packed."""

import csv
from pathlib import Path

import pytest
import torch

from eac_lightning import FERDataModule, SymmetricNoise
from eac_lightning.cli import main
from eac_lightning.errors import ConfigurationError
from eac_lightning.labels.noise import LabelNoise


def command(task: str, root: Path, run: Path) -> list[str]:
    return [
        task, "-c", "ce_mobilefacenet", "--model.backbone=tiny", "--trainer.accelerator=cpu", "--trainer.max_epochs=1",
        "--trainer.callbacks=[]", f"--data.root={root}", "--data.image_size=16", "--data.batch_size=8",
        "--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={run}",
    ]  # fmt: skip


def test_a_checkpoint_says_the_same_of_shards_and_of_the_folder(packed: Path, tmp_path: Path) -> None:
    for root, run in ((packed, tmp_path / "on_shards"), (tmp_path / "faces", tmp_path / "on_folder")):
        assert main(command("fit", packed, run)) == 0
        assert main(command("predict", root, run)) == 0
    shards, folder = (
        list(csv.DictReader((tmp_path / run / "predictions.csv").open())) for run in ("on_shards", "on_folder")
    )
    assert len(shards) == 162
    assert [row["path"] for row in shards] == [row["path"] for row in folder]
    numbers = [[float(row["p_anger"]) for row in rows] for rows in (shards, folder)]
    torch.testing.assert_close(torch.tensor(numbers[0]), torch.tensor(numbers[1]), atol=2e-6, rtol=0)


def test_it_is_recognised_and_knows_its_classes_without_reading_faces(packed: Path) -> None:
    data = FERDataModule(packed, image_size=16)
    data.setup("fit")
    assert (data.layout, data.class_names, data.num_classes) == ("shards", ("anger", "happiness", "neutral"), 3)
    assert data._annotations is None
    assert "train: 120 in 11 shards" in data.summary()
    assert len(data.annotations.table) == 162


def test_an_address_is_one_of_shards(packed: Path) -> None:
    data = FERDataModule(packed.as_uri())
    assert (data.layout, data.class_names) == ("shards", ("anger", "happiness", "neutral"))


def test_shards_at_home_are_recognised(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(packed.parent))
    assert FERDataModule("~/shards").num_classes == 3


def test_another_shards_json_hides_no_faces(packed: Path) -> None:
    (packed.parent / "faces" / "shards.json").write_text("[]")
    assert len(FERDataModule(packed.parent / "faces").annotations.table) == 162


def test_the_test_faces_validate_where_that_is_asked_for(tmp_path: Path, packed: Path) -> None:
    data = FERDataModule(packed, image_size=16, val_fraction=0)
    assert sum(len(batch["label"]) for batch in data.val_dataloader()) == 27


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("noise", SymmetricNoise(0.3)),
        ("folds", 3),
        ("sampler", "balanced"),
        ("cache", "ram"),
        ("duplicates", "drop"),
        ("angles", ["FL"]),
        ("allow_outside", True),
    ],
)
def test_what_shards_cannot_do_is_refused_by_name(packed: Path, option: str, value: LabelNoise | int | str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{option} cannot be used with layout='shards'"):
        FERDataModule(packed, **{option: value})  # type: ignore[arg-type]


def test_a_few_faces_over_and_over_are_refused(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command("fit", packed, packed.parent / "run"), "--trainer.overfit_batches=1"]) == 1
    assert "overfit_batches needs faces in memory" in " ".join(capsys.readouterr().err.split())

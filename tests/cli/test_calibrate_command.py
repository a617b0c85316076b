"""``eac calibrate``: what callbacks store when training ends, for a checkpoint without."""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from eac_lightning.cli import main
from eac_lightning.inference import Predictor
from eac_lightning.models import backbones
from eac_lightning.modules import load_module
from tests.cli.test_training import fit_small
from tests.conftest import CLASSES, TinyBackbone, make_faces
from tests.runs.fitting import same, weights
from tests.runs.test_killed import flat
from tests.test_inference import save_checkpoint

BOTH = (
    "[{class_path: eac_lightning.CalibrationCallback, init_args: {accuracy: 0.3}}, "
    "{class_path: eac_lightning.OODCallback}]"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with faces/, run/ without and known/ with both callbacks."""
    root = tmp_path_factory.mktemp("calibrate")
    make_faces(root / "faces")
    more = [
        "--model.lr",
        "0.05",
        "--trainer.max_epochs",
        "3",
        "--data.noise",
        "SymmetricNoise",
        "--data.noise.rate=0.2",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "_registry", {**backbones._registry, "tiny": TinyBackbone})
        for name, callbacks in (("run", "[]"), ("known", BOTH)):
            folder = ["--trainer.default_root_dir", str(root / name), "--trainer.callbacks", callbacks]
            assert main(fit_small(root / "faces", *more, *folder)) == 0
    return root


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "200")


def answering(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content["eac_lightning"]["answering"]  # type: ignore[no-any-return]


def test_a_copy_gets_what_the_callbacks_store(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = runs / "run"
    before = (run / "last.ckpt").read_bytes()
    assert main(["calibrate", str(run), "--accuracy", "0.3"]) == 0
    said = capsys.readouterr().out
    assert "validation faces; unsure below" in said
    assert "relative_mahalanobis: 95 % of 12 validation faces score at most" in said
    assert said.rstrip().endswith(str(run / "calibrated.ckpt"))
    assert (run / "last.ckpt").read_bytes() == before
    assert same(weights(run), weights(run, "calibrated.ckpt"))
    found, stored = answering(run / "calibrated.ckpt"), answering(runs / "known" / "last.ckpt")
    torch.testing.assert_close(found["ood"], stored["ood"], rtol=1e-4, atol=1e-5)
    assert (found["ood_score"], found["wanted_accuracy"]) == (stored["ood_score"], stored["wanted_accuracy"])
    for name in ("temperature", "min_confidence", "ood_threshold"):
        assert found[name] == pytest.approx(stored[name], rel=1e-4)
    predictor = Predictor.from_checkpoint(run / "calibrated.ckpt", crops=True)
    assert predictor.min_confidence == found["min_confidence"]


def test_another_data_set_and_other_options(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = make_faces(tmp_path / "others", (20, 6, 2))
    options = [
        "--root",
        str(others),
        "--layout",
        "folder",
        "--score",
        "energy",
        "--shrinkage",
        "0.5",
        "--device",
        "cpu",
    ]
    path = runs / "run" / "best.ckpt"
    assert main(["calibrate", str(path), *options, "--out", "deep/mine.ckpt", "--import", "json"]) == 0
    said = capsys.readouterr().out
    assert "on 18 validation faces\n" in said
    assert "energy: 95 % of 18 validation faces" in said
    answers = load_module("deep/mine.ckpt").answers
    assert answers is not None
    assert answers.min_confidence is None
    assert answers.ood_score == "energy"
    assert answers.ood["mahalanobis"].shrinkage == 0.5  # type: ignore[attr-defined]
    assert len(answers.ood["knn"].statistics["neighbours"]) == 60


def test_a_new_calibration_keeps_nothing_of_the_old(runs: Path) -> None:
    known = runs / "known" / "last.ckpt"
    assert main(["calibrate", str(known), "--out", "again.ckpt"]) == 0
    assert answering(Path("again.ckpt"))["min_confidence"] is None
    assert answering(known)["min_confidence"] is not None
    assert flat(answering(Path("again.ckpt"))["ood"], "").keys() == flat(answering(known)["ood"], "").keys()


def test_a_score_that_cannot_be_fitted_is_said(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = make_faces(tmp_path / "few", (2, 4, 4))
    arguments = ["calibrate", str(runs / "run"), "--root", str(few), "--out", "few.ckpt"]
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert "relative_mahalanobis is not stored with last.ckpt. Expected more samples than" in " ".join(said.out.split())
    assert "relative_mahalanobis cannot decide which faces" in " ".join(said.err.split())
    assert not Path("few.ckpt").exists()
    assert main([*arguments, "--score", "energy"]) == 0
    assert list(answering(Path("few.ckpt"))["ood"]) == ["energy"]
    assert answering(Path("few.ckpt"))["temperature"] != 1


def test_data_that_were_moved_are_split_as_in_training(runs: Path, tmp_path: Path) -> None:
    """By the run's seed: with another one, faces that were learnt would be validated on."""
    root = make_faces(tmp_path / "unsplit", (16, 1, 1))
    for split in ("val", "test"):
        shutil.rmtree(root / split)
    assert main(fit_small(root, "--seed_everything", "7", "--data.val_fraction", "0.25")) == 0
    assert main(["calibrate", "run", "--score", "energy", "--out", "there.ckpt"]) == 0
    moved = root.rename(tmp_path / "moved")
    assert main(["calibrate", "run", "--score", "energy", "--out", "moved.ckpt", "--root", str(moved)]) == 0
    there, after = (answering(Path(name)) for name in ("there.ckpt", "moved.ckpt"))
    assert (there["temperature"], there["ood_threshold"]) == (after["temperature"], after["ood_threshold"])


def test_errors_are_said(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, faces = str(runs / "run"), str(runs / "faces")
    Path("alone").mkdir()
    alone = save_checkpoint(Path("alone"), class_names=list(CLASSES))
    Path("normalised").mkdir()
    normalised = save_checkpoint(Path("normalised"), normalize=False)
    unsplit = make_faces(tmp_path / "unsplit")
    for split in ("val", "test"):
        shutil.rmtree(unsplit / split)
    options = ["--data.val_fraction", "0", "--data.test_fraction", "0", "--trainer.limit_val_batches", "0"]
    assert main(fit_small(unsplit, *options, "--trainer.default_root_dir", "unvalidated")) == 0
    tested = make_faces(tmp_path / "tested")
    shutil.rmtree(tested / "val")
    assert main(fit_small(tested, *options[:2], "--trainer.default_root_dir", "tested_on")) == 0
    capsys.readouterr()
    for arguments, message in (
        (["tested_on"], "no validation split to calibrate on.*validates on the test split"),
        (["nowhere"], "nowhere, but there is no such file"),
        ([run, "--out", f"{run}/last.ckpt"], "to be a new file, but .* is the checkpoint itself"),
        ([run, "--out", run], "to be a new file, but .* is a folder"),
        ([run, "--accuracy", "90"], "accuracy to be above 0 and at most 1, but got 90"),
        ([run, "--score", "energie"], "Unknown out-of-distribution score 'energie'. Did you mean 'energy'"),
        ([run, "--device", "gpu"], "a device that is there, but got 'gpu'"),
        ([run, "--import", "no_such_module"], "no_such_module"),
        ([str(alone)], "Expected the settings of a run in .*or the data: --root"),
        ([str(normalised), "--root", faces], "normalize=False.*there is no config.yaml in"),
        (
            ["unvalidated"],
            "There is no validation split to calibrate on. The data in .* have no test split, only train",
        ),
    ):
        assert main(["calibrate", *arguments]) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert re.search(message, said), said
    assert not list(tmp_path.rglob("calibrated.ckpt"))

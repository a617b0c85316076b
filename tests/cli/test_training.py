"""Every recipe through the real command line, on generated faces; and what a person may get wrong."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from eac_lightning.callbacks import cam
from eac_lightning.cli import main
from eac_lightning.cli.explain import explain
from eac_lightning.data.layouts import fer2013
from eac_lightning.recipes import find_recipe, list_recipes
from tests.conftest import CLASSES, make_faces, make_fer2013

RECIPES = [name for name, path in list_recipes().items() if "seed_everything" in yaml.safe_load(path.read_text())]
OVERLAYS = [name for name in list_recipes() if name not in RECIPES]
DRAWN = ("quickstart", "fer2013_vit_tiny_eac")
"""Panels of maps are drawn in the same way for all recipes, and take longer than everything else."""
SHALLOW = {
    "timm/vit_tiny_patch16_224": {"patch_size": 8, "depth": 1},
    "timm/vit_small_patch16_224": {"patch_size": 8, "depth": 1},
    "timm/coat_lite_tiny": {"serial_depths": [1, 1, 1, 1]},
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and the search path and arguments of the process as they were afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["eac"])
    return tmp_path


def small(recipe: str, folder: Path) -> list[str]:
    options = ["--trainer.accelerator=cpu", f"--trainer.default_root_dir={folder}", "--data.batch_size=8"]
    if recipe == "quickstart":
        return [
            *options,
            f"--data.root={folder}-faces",
            "--data.count=64",
            "--data.size=48",
            "--data.val_fraction=0.25",
        ]
    content = yaml.safe_load(find_recipe(recipe).read_text())
    model, callbacks = content["model"]["init_args"], content["trainer"]["callbacks"]
    for callback in callbacks:
        if callback["class_path"].endswith("OODCallback"):  # its covariances take more faces than features
            callback["init_args"] = {"score": "knn"}
    options.append(f"--trainer.callbacks={json.dumps(callbacks)}")
    if model.get("backbone") in SHALLOW:
        options.append(f"--model.backbone_options={json.dumps(SHALLOW[model['backbone']])}")
    size = 80 if "facenet" in (model.get("backbone"), model.get("teacher")) else 32  # facenet's least is 75
    make = make_natural_noise if recipe == "natural_noise_fer2013" else make_faces
    return [*options, f"--data.root={make(folder.with_name('faces'))}", f"--data.image_size={size}"]


def make_natural_noise(root: Path) -> Path:
    """Write 24 training, 12 validation and 12 test faces of FER2013, every third of them mislabelled."""
    names = [fer2013.CLASSES[i % 7] for i in range(48)]
    faces = [(names[i - (i % 3 == 0)], {name: 10}) for i, name in enumerate(names)]
    return make_fer2013(root, faces, ["Training", "PublicTest", "Training", "PrivateTest"])


def fit_small(root: Path, *more: str) -> list[str]:
    """Return the shortest fit: the tiny backbone on generated faces."""
    return [
        "fit", "-c", "ce_mobilefacenet", "--model.backbone", "tiny", "--trainer.accelerator", "cpu", "--trainer.max_epochs",
        "1", "--trainer.callbacks", "[]", "--data.root", str(root), "--data.image_size", "16", "--data.batch_size", "8",
        "--trainer.default_root_dir", "run", *more,
    ]  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_fits_validates_tests_and_predicts(recipe: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if recipe not in DRAWN:
        monkeypatch.setattr(cam, "cam_panel", lambda *_, **__: np.zeros((8, 8, 3), np.uint8))
    options = small(recipe, here / "run")
    run = here / "run"
    assert main(["fit", "-c", recipe, *options, "--trainer.max_epochs=1"]) == 0
    for name in ("last.ckpt", "best.ckpt", "metrics.csv", "config.yaml", "results.json", "confusion_matrix_val.csv"):
        assert (run / name).is_file(), name
    pictures = {path.name for path in (run / "pictures").iterdir()}
    assert {"cam_val.png", "confusion_matrix_val.png"} <= pictures
    metrics = (run / "metrics.csv").read_text()

    assert main(["validate", "-c", recipe, *options]) == 0
    assert main(["test", "-c", recipe, *options, "--ckpt_path", str(run / "best.ckpt")]) == 0
    writer = ["--trainer.callbacks", "[{class_path: eac_lightning.PredictionWriter}]"]
    assert main(["predict", "-c", recipe, *options, *writer]) == 0

    assert 0 <= json.loads((run / "results.json").read_text())["test"]["test/accuracy"] <= 1
    assert (run / "pictures" / "cam_test.png").is_file()
    assert len((run / "predictions.csv").read_text().splitlines()) == (65 if recipe == "quickstart" else 49)
    assert (run / "metrics.csv").read_text() == metrics


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_says_what_it_is_and_every_setting(recipe: str) -> None:
    text = find_recipe(recipe).read_text()
    content = yaml.safe_load(text)
    assert text.startswith("# ")
    assert "Run:" in text
    assert "Expected:" in text
    assert content["seed_everything"] == 0
    assert {"default_root_dir", "max_epochs", "precision"} <= set(content["trainer"])
    assert {"backbone", "lr", "weight_decay", "lr_decay"} <= set(content["model"]["init_args"])
    if content["model"]["class_path"].endswith("EACModule"):
        assert {"consistency_weight", "view_order", "erasing_probability"} <= set(content["model"]["init_args"])
    assert {"root", "image_size", "batch_size", "augment"} <= set(content["data"]["init_args"])


@pytest.mark.parametrize("overlay", [name for name in OVERLAYS if name.startswith("noise/")])
def test_noise_overlays_move_their_share(overlay: str, here: Path, faces: Path) -> None:
    options = []
    if "instance" in overlay:  # these faces have no votes
        rows = [f"{path.relative_to(faces).as_posix()},0.5,0.3,0.2\n" for path in faces.rglob("*.png")]
        Path("doubts.csv").write_text("path,p_anger,p_happiness,p_neutral\n" + "".join(rows))
        options = ["--data.noise.probabilities", "doubts.csv"]
    assert main([*fit_small(faces), "-c", overlay, *options]) == 0
    rate = yaml.safe_load((here / "run" / "config.yaml").read_text())["data"]["init_args"]["noise"]["init_args"]["rate"]
    assert rate == int(overlay.rpartition("_")[2]) / 100
    assert "memorized" in json.loads((here / "run" / "results.json").read_text())["fit"]


@pytest.mark.parametrize("overlay", [name for name in OVERLAYS if name.startswith("data/")])
def test_data_overlays_name_their_layout(overlay: str) -> None:
    content = yaml.safe_load(find_recipe(overlay).read_text())
    assert content["data"]["init_args"]["layout"] == overlay.removeprefix("data/")


@pytest.mark.parametrize("budget", ["laptop", "full"])
def test_the_schedules_of_the_benchmark_compose_and_audit(budget: str, here: Path, faces: Path) -> None:
    more = [
        "--data.image_size",
        "16",
        "--data.subset",
        "20",
        "--trainer.max_epochs",
        "1",
        "--trainer.accelerator",
        "cpu",
    ]
    command = ["fit", "-c", "ce_mobilefacenet", "-c", "data/folder", "-c", f"noise_benchmark/{budget}", *more]
    where = ["--data.root", str(faces), "--trainer.default_root_dir", "run", "--model.backbone", "tiny"]
    assert main([*command, *where]) == 0
    assert (here / "run" / "audit.parquet").is_file()


def test_the_folder_overlay_composes(here: Path, faces: Path) -> None:
    assert main(["fit", "-c", "ce_mobilefacenet", "-c", "data/folder", *fit_small(faces)[3:]]) == 0


def test_a_later_recipe_wins(here: Path, faces: Path) -> None:
    Path("mine.yaml").write_text("model:\n  init_args:\n    lr: 0.25\n")
    assert main([*fit_small(faces), "--config=mine.yaml"]) == 0
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    assert config["model"]["init_args"]["lr"] == 0.25
    assert config["model"]["init_args"]["lr_decay"] == 0.93


def test_without_a_recipe_it_is_eac_on_a_folder(here: Path, faces: Path) -> None:
    options = [*fit_small(faces)[3:], "--model.consistency_weight", "2"]
    assert main(["fit", *options]) == 0
    assert yaml.safe_load(Path("run/config.yaml").read_text())["model"]["class_path"].endswith("EACModule")


def test_compare_trains_both_from_one_start(here: Path, faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["-c", "eac_mobilefacenet", "-c", "noise/symmetric_30", *fit_small(faces)[3:], "--model.lr=0"]
    assert main(["compare", *options]) == 0
    summary = json.loads(Path("run/summary.json").read_text())
    assert set(summary) == {"cross_entropy", "eac"}
    for method, figures in summary.items():
        assert set(figures) == {"best", "last5", "mean_class_last5", "memorized", "seconds"}
        assert all(0 <= value <= 1 for key, value in figures.items() if key != "seconds")
        assert Path("run", method, "last.ckpt").is_file()
    states = [torch.load(Path("run", method, "last.ckpt"), weights_only=True)["state_dict"] for method in summary]
    for name, value in states[0].items():
        if name.endswith(("weight", "bias")):  # nothing was learned: what stands there is the start
            assert torch.equal(value, states[1][name]), name
    printed = capsys.readouterr().out
    assert "memorised" in printed
    assert "summary.json" in printed


def test_compare_sets_a_loss_beside_cross_entropy(here: Path, faces: Path) -> None:
    assert main(["compare", "-c", "gce_mobilefacenet", *fit_small(faces)[3:]]) == 0
    assert set(json.loads(Path("run/summary.json").read_text())) == {"cross_entropy", "generalized_cross_entropy"}
    for method, options in (("cross_entropy", None), ("generalized_cross_entropy", {"q": 0.7})):
        model = yaml.safe_load(Path("run", method, "config.yaml").read_text())["model"]["init_args"]
        assert (model["loss"], model["loss_options"]) == (method, options)


def test_compare_needs_another_method(here: Path, faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *fit_small(faces)[1:]]) == 1
    assert "another method than plain cross-entropy" in " ".join(capsys.readouterr().err.split())


def test_an_earlier_run_is_kept(here: Path, faces: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(fit_small(faces)) == 0
    first = Path("run/last.ckpt").read_bytes()
    assert main([*fit_small(faces), "--seed_everything", "1"]) == 0
    assert Path("run-1/last.ckpt").read_bytes() == first
    assert "run held a run, finished" in caplog.text
    assert (
        main(
            [
                *fit_small(faces)[:-2],
                "--trainer.default_root_dir=run",
                "--trainer.max_epochs=2",
                "--ckpt_path=last",
            ]
        )
        == 0
    )
    assert not Path("run-2").exists()
    assert len(json.loads(Path("run/results.json").read_text())["fit"]["history"]) == 2


def test_a_fit_that_saves_nothing_gives_the_earlier_run_its_place_back(here: Path, faces: Path) -> None:
    assert main(fit_small(faces)) == 0
    first = Path("run/last.ckpt").read_bytes()
    assert (
        main(
            fit_small(
                faces, "--model.lr", "1e30", "--trainer.max_epochs=3", "--optimizer", "SGD", "--optimizer.lr=1e30"
            )
        )
        == 1
    )
    assert Path("run/last.ckpt").read_bytes() == first
    assert not Path("run-1").exists()


def test_predict_writes_its_predictions_and_evaluation_asks_for_nothing_else(here: Path, faces: Path) -> None:
    assert main(fit_small(faces)) == 0
    assert main(["predict", *fit_small(faces)[1:]]) == 0
    assert len(Path("run/predictions.csv").read_text().splitlines()) == 49


def test_evaluation_asks_for_a_trained_checkpoint(here: Path, faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", *fit_small(faces)[1:]]) == 1
    assert "Expected a trained checkpoint at run/last.ckpt" in " ".join(capsys.readouterr().err.split())


def test_evaluation_needs_no_pretrained_file(here: Path, faces: Path) -> None:
    from eac_lightning.models.backbones import create_backbone

    torch.save(create_backbone("tiny").state_dict(), "start.pt")
    assert main(fit_small(faces, "--model.weights", "start.pt")) == 0
    Path("start.pt").unlink()
    assert main(["test", *fit_small(faces, "--model.weights", "start.pt")[1:]]) == 0


def test_an_optimizer_from_the_command_line_says_what_it_replaces(here: Path, faces: Path, caplog: Any) -> None:
    assert main(fit_small(faces, "--optimizer", "SGD", "--optimizer.lr", "0.5")) == 0
    assert "--optimizer replaces" in caplog.text


def test_ones_own_module_is_found_in_the_working_directory(here: Path, faces: Path) -> None:
    Path("my_method.py").write_text(
        "from eac_lightning import ClassificationModule, register_backbone\n"
        "from tests.conftest import TinyBackbone\n"
        "register_backbone('own')(TinyBackbone)\n"
        "class MyModule(ClassificationModule):\n    'Mine.'\n"
    )
    assert (
        main(fit_small(faces, "--import", "my_method", "--model", "my_method.MyModule", "--model.backbone", "own")) == 0
    )
    about = torch.load("run/last.ckpt", weights_only=True)["eac_lightning"]
    assert about["class_path"] == "my_method.MyModule"
    assert (
        main(
            [
                "test",
                *fit_small(faces, "--model", "my_method.MyModule", "--model.backbone=own")[1:],
                "--import=my_method",
            ]
        )
        == 0
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-c", "quikstart"], "Unknown recipe 'quikstart'. Did you mean 'quickstart'?"),
        (["-c", "none.yaml"], "Expected a recipe at none.yaml"),
        (["--model", "EACModul"], "found no class 'EACModul'. Did you mean EACModule"),
        (["--model", "nowhere.Mine"], "found no class"),
        (["--model.consistancy_weight", "3"], "no option 'consistancy_weight'. Did you mean consistency_weight"),
        (["--trainer.max_epoch", "3"], "no option 'trainer.max_epoch'. Did you mean max_epochs"),
        (["--dta.root", "x"], "no option 'dta.root'. Did you mean data?"),
        (["--model.lr", "fast"], "Expected lr to be of type float, but got 'fast'"),
        (["--data.noise", "SymetricNoise"], "found no class 'SymetricNoise'. Did you mean SymmetricNoise?"),
        ([], "data.root is needed and was not given"),
        (["--data.root", "nowhere"], "Expected a data set at nowhere"),
        (
            ["--data.root", "x", "--data.noise", "SymmetricNoise", "--data.noise.rate", "1.5"],
            "must lie in [0, 1], but is 1.5",
        ),
        (["--import", "no_such_module"], "Expected a Python module in the working directory"),
    ],
)
def test_a_wrong_command_line_is_explained_in_a_few_lines(
    options: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *options]) in (1, 2)
    said = capsys.readouterr().err
    assert message in " ".join(said.split())
    assert len(said.splitlines()) < 12
    assert not Path("runs").exists()


def test_what_is_not_understood_is_said_as_it_is() -> None:
    assert explain("Something  new\nhappened") == "Something new happened"


def test_the_real_command_in_a_process_of_its_own(here: Path, faces: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "eac_lightning", "fit", "-c", "eac_mobilefacenet", *fit_small(faces)[5:], "--data.image_size=32"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "overall accuracy" in done.stdout
    assert set(json.loads(Path("run/results.json").read_text())["fit"]["recall"]) == set(CLASSES)


def test_facenet2expnet_in_two_stages_resumed_and_refined_with_eac(here: Path, faces: Path) -> None:
    options = [
        "--model.teacher", "tiny", "--model.stage1_epochs", "1", "--data.root", str(faces), "--data.image_size", "16",
        "--data.batch_size", "8", "--trainer.accelerator", "cpu", "--trainer.callbacks", "[]",
    ]  # fmt: skip
    recipe = ["fit", "-c", "facenet2expnet_mobilefacenet", *options]
    assert main([*recipe, "--trainer.max_epochs=2", "--trainer.default_root_dir=whole"]) == 0
    assert main([*recipe, "--trainer.max_epochs=1", "--trainer.default_root_dir=part"]) == 0
    assert main([*recipe, "--trainer.max_epochs=2", "--trainer.default_root_dir=part", "--ckpt_path", "last"]) == 0
    whole, part = (torch.load(here / run / "last.ckpt", weights_only=True) for run in ("whole", "part"))
    assert all(torch.equal(value, part["state_dict"][key]) for key, value in whole["state_dict"].items())
    assert "stage" in (here / "whole" / "metrics.csv").read_text().splitlines()[0]

    refine = [*fit_small(faces)[3:], "--model.backbone", "expnet", "--model.weights", "whole/student.safetensors"]
    assert main(["fit", "-c", "facenet2expnet_eac", *refine]) == 0

"""``eac audit`` on small runs: what it writes and prints, what it takes, and what a person may get wrong."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from eac_lightning._lightning import L
from eac_lightning.audit import folds as folds_file
from eac_lightning.audit.table import SCORES, read_audit
from eac_lightning.cli import audit as audit_file
from eac_lightning.cli import main
from eac_lightning.cli.parser import build_parser
from eac_lightning.models import backbones
from tests.conftest import CLASSES, TinyBackbone, make_faces

WRONG_AND_RIGHT = {
    "train/neutral/wrong_0.png": "anger",
    "train/happiness/wrong_1.png": "neutral",
    "train/anger/wrong_2.png": "neutral",
}
WRONG = set(WRONG_AND_RIGHT)
OWN_DATA = """
import torch
from torch.utils.data import DataLoader, Dataset
from eac_lightning._lightning import L

class Faces(Dataset):
    def __len__(self):
        return 12
    def __getitem__(self, index):
        return torch.full((3, 16, 16), 0.3 * (index % 3)), index % 3, index

class OwnData(L.LightningDataModule):
    class_names = ["anger", "happiness", "neutral"]
    def train_dataloader(self):
        return DataLoader(Faces(), batch_size=4)

class AuditedData(OwnData):
    def audit_dataloader(self):
        return DataLoader(Faces(), batch_size=5)
"""


def fit(root: Path, folder: Path, *more: str) -> int:
    return main(
        [
            "fit", "-c", "ce_mobilefacenet", "--model.backbone", "tiny", "--model.lr", "0.03", "--trainer.accelerator",
            "cpu", "--trainer.max_epochs", "10", "--trainer.callbacks", "[]", "--trainer.enable_progress_bar", "false",
            "--data.root", str(root), "--data.image_size", "16", "--data.batch_size", "8", "--data.augment", "none",
            "--trainer.default_root_dir", str(folder), *more,
        ]
    )  # fmt: skip


def mislabel(root: Path) -> None:
    """Put copies of faces into the folders of other classes."""
    for path, right in WRONG_AND_RIGHT.items():
        shutil.copy(root / "train" / right / "0.png", root / path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with ``faces``, three of them mislabelled, and two runs: ``plain``, and ``audited`` by the callback."""
    folder = tmp_path_factory.mktemp("trained")
    mislabel(make_faces(folder / "faces", per_class=(10, 4, 2)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "_registry", {**backbones._registry, "tiny": TinyBackbone})
        patch.setattr(sys, "argv", ["eac"])
        patch.setattr(sys, "path", list(sys.path))
        callback = "[{class_path: eac_lightning.LabelAuditCallback, init_args: {from_epoch: 7}}]"
        assert fit(folder / "faces", folder / "plain") == 0
        assert fit(folder / "faces", folder / "audited", "--trainer.callbacks", callback) == 0
        yield folder


@pytest.fixture
def here(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with copies of both runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["eac"])
    for run in ("plain", "audited"):
        shutil.copytree(trained / run, tmp_path / run)
    return tmp_path


def audit(*arguments: str) -> pd.DataFrame:
    """Run the command without a gallery, and return the table."""
    assert main(["audit", *arguments, "--gallery", "0"]) == 0
    kind = "cleanlab" if "cleanlab" in arguments else "folds" if "--folds" in arguments else ""
    out = arguments[arguments.index("--out") + 1] if "--out" in arguments else Path(arguments[0], kind)
    return read_audit(Path(out))


def figures(folder: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(folder) / "audit.json").read_text())
    return content


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    """Run what must fail, and leave every file as it was; return what is said."""
    before = files(folder)
    assert main(["audit", *arguments]) == 1
    after = files(folder)
    assert {name: content for name, content in after.items() if name in before} == before
    assert not [name for name in after if name.endswith((".partial", ".parquet", ".json")) and name not in before]
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("Error: ")
    return said


def test_a_run_is_audited_in_one_pass(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(here / "plain")
    assert main(["audit", "plain"]) == 0
    table = read_audit(Path("plain"))
    assert len(table) == 33
    assert set(table["path"][table["suspect"]]) == WRONG == set(table.nlargest(3, "score")["path"])
    suggested = table[table["suspect"]].set_index("path")["suggested"].astype(str).to_dict()
    assert suggested == WRONG_AND_RIGHT
    written = files(here / "plain")
    assert set(written) - set(before) == {"audit.parquet", "audit.json", "gallery.html"}
    assert {name: written[name] for name in before} == before
    assert sorted(path.name for path in here.iterdir()) == ["audited", "plain"]

    said = capsys.readouterr().out
    estimate = re.search(r"33 labels, 3 of them suspect: an estimated 9\.1% \((.+)% to (.+)%\) are wrong\.", said)
    assert estimate
    assert float(estimate[1]) <= 9.1 <= float(estimate[2])
    assert re.search(r"anger +│ +11 │ +1 │ +9\.1% │ neutral 100%", said)
    assert "table: plain/audit.parquet\n" in said
    assert "gallery of 3 suspects: plain/gallery.html\n" in said
    assert "--data.label_overrides corrections.csv" in said
    assert "Known" not in said
    settings = figures("plain")["settings"]
    assert settings == {
        "score": "combined", "epochs": None, "checkpoint": "plain/last.ckpt", "folds": None, "method": "network",
        "answers": "network",
    }  # fmt: skip


def test_the_answers_of_training_are_taken_and_nothing_is_asked(
    here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written_by_training = read_audit(Path("audited"))
    with monkeypatch.context() as patch:
        patch.setattr(audit_file, "observe", None)
        table = audit("audited")
    pd.testing.assert_frame_equal(table, written_by_training)
    assert figures("audited")["settings"]["epochs"] == [7, 8, 9]
    assert "the training's 3 audits; --again asks" in caplog.text
    again = audit("audited", "--again")
    assert figures("audited")["settings"]["epochs"] is None
    # The callback changes nothing of the training, and what the last epoch is asked is what the command asks.
    pd.testing.assert_frame_equal(again, audit("plain"))
    np.testing.assert_allclose(again["consistency"], written_by_training["consistency"], atol=1e-6)
    assert not np.allclose(again["p_given"], written_by_training["p_given"], atol=1e-6)


def test_a_checkpoint_and_another_folder(here: Path) -> None:
    table = audit("plain")
    (here / "plain" / "audit.json").unlink()
    pd.testing.assert_frame_equal(audit("plain/last.ckpt", "--out", "deep/down"), table)
    assert sorted(path.name for path in Path("deep/down").iterdir()) == ["audit.json", "audit.parquet"]
    assert not Path("plain/audit.json").exists()
    audit("plain/best.ckpt", "--out", "best")
    assert figures("best")["settings"]["checkpoint"] == "plain/best.ckpt"


def test_data_that_have_moved(here: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = audit("plain")
    config = yaml.safe_load(Path("plain/config.yaml").read_text())
    config["data"]["init_args"]["root"] = "gone"
    Path("plain/config.yaml").write_text(yaml.safe_dump(config))
    assert f"run's data set at {here / 'gone'}, but there is nothing. Name its place: --root" in refused(
        capsys, here, "plain"
    )
    shutil.copytree(trained / "faces", "moved")
    pd.testing.assert_frame_equal(audit("plain", "--root", "moved"), table)


def test_a_checkpoint_alone_with_the_data(here: Path, trained: Path) -> None:
    Path("alone").mkdir()
    shutil.copy("plain/last.ckpt", "alone/mine.ckpt")
    table = audit("alone/mine.ckpt", "--root", str(trained / "faces"), "--out", "told")
    pd.testing.assert_frame_equal(table, audit("plain"))


@pytest.mark.parametrize("score", SCORES)
def test_every_score_ranks(score: str, here: Path) -> None:
    table = audit("plain", "--score", score)
    assert figures("plain")["settings"]["score"] == score
    expected = {
        "p_given": 1 - table["p_given"],
        "loss": table["loss"],
        "disagreements": table["disagreements"],
        "combined": table["combined"],
    }
    values = expected.get(score, -table[score] if score in table else None)
    np.testing.assert_allclose(table["score"], values, atol=1e-6)
    if score not in ("consistency", "agreement"):
        assert table["score"][table["path"].isin(WRONG)].min() >= table["score"].quantile(0.9)


@pytest.mark.parametrize("limit", [1, 2])
def test_the_gallery_shows_so_many_at_most(limit: int, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "plain", "--gallery", str(limit)]) == 0
    page = Path("plain/gallery.html").read_text()
    shown = re.findall(r'"path":"([^"]+)"', page)
    worst = read_audit(Path("plain")).nlargest(limit, "score")["path"].tolist()
    assert shown == worst
    assert len(re.findall(r'"face":"[A-Za-z0-9+/=]{40,}"', page)) == limit
    assert len(re.findall(r'"map":\{"width":4,"bytes":"[A-Za-z0-9+/=]+"\}', page)) == limit
    assert f"gallery of {limit} of 3 suspects" in capsys.readouterr().out


def test_no_gallery(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audit("plain")
    assert not Path("plain/gallery.html").exists()
    assert "gallery" not in capsys.readouterr().out


def test_folds_ask_networks_that_have_not_seen_the_label(
    here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopped after the first fold, it goes on with the second; finished, it trains nothing."""
    trained_on: list[set[int]] = []
    fitted = L.Trainer.fit

    def note(self: Any, model: Any, *given: Any, **named: Any) -> None:
        if len(trained_on) == 1 and not stopped:
            stopped.append(True)
            raise KeyboardInterrupt
        trained_on.append(set(named["datamodule"].dataset("train").columns["index"].tolist()))
        fitted(self, model, *given, **named)

    stopped: list[bool] = []
    with monkeypatch.context() as patch:
        patch.setattr(L.Trainer, "fit", note)
        assert main(["audit", "plain", "--folds", "2", "--gallery", "0"]) == 130
        assert not Path("plain/folds/audit.parquet").exists()
        table = audit("plain", "--folds", "2")
        assert len(trained_on) == 2
        again = audit("plain", "--folds", "2")
        assert len(trained_on) == 2
    pd.testing.assert_frame_equal(table, again)
    assert "fold 1 of 2 was finished before" in caplog.text
    index = set(table["index"])
    assert trained_on[0] | trained_on[1] == index
    assert not trained_on[0] & trained_on[1]
    assert len(table) == len(index) == 33
    assert set(table.nsmallest(6, "p_given")["path"]) >= WRONG
    assert figures("plain/folds")["settings"]["folds"] == 2
    assert not Path("plain/audit.parquet").exists()  # an audit of another kind has its own place
    # Nothing is written where the person happens to be.
    assert sorted(path.name for path in here.iterdir()) == ["audited", "plain"]


def test_folds_of_other_settings_are_not_taken(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = audit("plain", "--folds", "2", "--out", "here")
    config = yaml.safe_load(Path("plain/config.yaml").read_text())
    config["model"]["init_args"]["lr"] = 1e-6
    Path("plain/config.yaml").write_text(yaml.safe_dump(config))
    other = audit("plain", "--folds", "2", "--out", "here")
    assert not np.allclose(table["p_given"], other["p_given"], atol=0.05)


def test_cleanlab_with_folds_and_without(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("cleanlab")
    table = audit("plain", "--method", "cleanlab")
    assert "cleanlab wants probabilities of networks that have not seen the label" in caplog.text
    caplog.clear()
    table = audit("plain", "--method", "cleanlab", "--folds", "2", "--quality", "normalized_margin")
    assert "cleanlab wants" not in caplog.text
    probabilities = table[[f"p_{name}" for name in CLASSES]].to_numpy(float)
    given = table["given"].cat.codes.to_numpy()
    others = probabilities.copy()
    others[np.arange(33), given] = -1
    margin = probabilities[np.arange(33), given] - others.max(1)
    np.testing.assert_allclose(table["score"], 1 - (margin + 1) / 2, atol=1e-6)
    kept = figures("plain/cleanlab")
    assert kept["settings"]["method"] == "cleanlab"
    assert kept["noise_rate"]["low"] is None
    assert kept["settings"]["score"] == "normalized_margin"
    assert kept["noise_rate"]["estimate"] == pytest.approx(table["suspect"].mean())
    np.testing.assert_allclose(np.sum(kept["transition_matrix"], 1), 1)


def test_known_noise_is_told(trained: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_faces(here / "clean", per_class=(8, 4, 2))
    assert fit(here / "clean", here / "noisy", "-c", "noise/symmetric_20", "--trainer.max_epochs=6") == 0
    capsys.readouterr()
    table = audit("noisy")
    wrong = table["clean"] != table["given"].astype(str)
    assert 0 < wrong.sum() < len(table)
    known = figures("noisy")["known"]
    pairs = [
        (score > other) + 0.5 * (score == other) for score in table["score"][wrong] for other in table["score"][~wrong]
    ]
    assert known["auroc"] == pytest.approx(np.mean(pairs), abs=1e-6)
    said = capsys.readouterr().out
    assert f"Known to be wrong: {wrong.mean():.1%}. AUROC {known['auroc']:.3f}" in said


@pytest.mark.parametrize("rate", [0, 1])
def test_all_labels_right_and_all_wrong(rate: int, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_faces(here / "clean", per_class=(8, 4, 2))
    noise = ["--data.noise", "SymmetricNoise", "--data.noise.rate", str(rate)]
    assert fit(here / "clean", here / "run", *noise) == 0
    capsys.readouterr()
    assert main(["audit", "run"]) == 0
    said = capsys.readouterr().out
    kept = figures("run")
    assert kept.get("known") == {"noise_rate": float(rate)}
    assert f"Known to be wrong: {rate:.1%}, so there is nothing to tell apart." in said
    assert "nan" not in said
    # Two components would split the losses even of labels that are all right.
    contradicted = (read_audit(Path("run"))["margin"] <= 0).mean()
    assert kept["noise_rate"]["estimate"] <= contradicted + 1e-9
    assert kept["noise_rate"]["estimate"] <= 0.5 or rate


def test_a_class_that_nothing_is_labelled_as(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its row has no share, and no number is invented."""
    record = torch.load("audited/last.ckpt", weights_only=True)
    columns = record["callbacks"]["LabelAuditCallback"]["columns"]
    neutral = columns["given"] == 2
    columns["count"][neutral] = 0
    torch.save(record, "audited/last.ckpt")
    audit("audited")
    assert re.search(r"neutral +│ +0 │ +0 │ +│ +│", capsys.readouterr().out)
    assert figures("audited")["per_class"]["neutral"] == {"samples": 0, "suspects": 0, "rate": None}


def test_names_are_printed_as_they_are(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("[red]", "[/b]", "[bold]x")
    for split, count in (("train", 6), ("val", 2)):
        for source, name in zip(CLASSES, names, strict=True):
            for number in range(count):
                target = here / "strange" / split / name.replace("/", "∕") / f"{number}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(trained_face(source), target)
    assert fit(here / "strange", here / "[i]run", "--trainer.max_epochs=1") == 0
    capsys.readouterr()
    assert main(["audit", "[i]run", "--gallery", "0"]) == 0
    said = capsys.readouterr().out
    assert "[red]" in said
    assert "table: [i]run/audit.parquet" in said


def trained_face(name: str) -> Path:
    make = Path("some")
    if not make.exists():
        make_faces(make, per_class=(1, 1, 1))
    return make / "train" / name / "0.png"


def test_ones_own_datamodule(here: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """It takes no seed and knows no paths: there is a table, and a warning in the gallery's place."""
    Path("own_data.py").write_text(OWN_DATA)
    own = ["--data", "own_data.AuditedData", "--import", "own_data"]
    fixed = ["fit", "--model", "ClassificationModule", "--model.backbone", "tiny", "--trainer.max_epochs", "2"]
    where = ["--trainer.accelerator=cpu", "--trainer.default_root_dir=run"]
    assert main([*fixed, *own, *where]) == 0
    assert main(["audit", "run", "--import", "own_data"]) == 0
    assert read_audit(Path("run"))["path"].tolist() == [""] * 12
    assert "no gallery: the data give no audit_dataloader(), or no paths" in caplog.text
    assert not Path("run/gallery.html").exists()
    config = Path("run/config.yaml")
    config.write_text(config.read_text().replace("AuditedData", "OwnData"))
    message = "Expected a DataModule with audit_dataloader()"
    assert message in refused(capsys, here, "run", "--import", "own_data", "--out", "other")
    config.write_text(config.read_text().replace("own_data.OwnData", "own_data.NoData"))
    assert "Cannot rebuild own_data.NoData" in refused(capsys, here, "run", "--import", "own_data")


def change_config(section: str, **changes: Any) -> None:
    config = yaml.safe_load(Path("plain/config.yaml").read_text())
    config[section]["init_args"].update(changes)
    Path("plain/config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "Expected a run's folder or a checkpoint at nowhere, but there is nothing"),
        (["plain/none.ckpt"], "Expected a run's folder or a checkpoint at plain/none.ckpt, but there is nothing"),
        (["plain/metrics.csv"], "plain/metrics.csv is neither a torch file nor"),
        (["plain", "--score", "p_givn"], "Unknown score 'p_givn'. Did you mean 'p_given'"),
        (["plain", "--folds", "1"], "Expected --folds to be at least 2, but got 1"),
        (["plain", "--score", "loss", "--method", "cleanlab"], "--score ranks for --method network"),
        (["plain", "--quality", "self_confidence"], "--quality for --method cleanlab; give the other"),
        (["plain", "--out", "plain/config.yaml"], "Expected --out to be a folder, but plain/config.yaml is a file"),
        (["plain", "--folds", "0"], "Expected --folds to be at least 2, but got 0"),
        (["plain", "--folds", "34"], "as many pictures as folds, but there are 33 for 34 folds"),
        (["plain", "--gallery", "-1"], "Expected --gallery to be at least 0"),
        (["plain", "--device", "abacus"], "Expected a device that is there, but got 'abacus'"),
        (["plain", "--import", "no_such_module"], "--import 'no_such_module'"),
        (["plain", "--root", "nowhere"], "but there is nothing. Name its place: --root"),
    ],
)
def test_what_a_person_may_get_wrong(
    arguments: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, here, *arguments)


def test_a_run_without_a_checkpoint(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("plain/last.ckpt").unlink()
    assert "Expected a checkpoint or a file of weights at plain/last.ckpt" in refused(capsys, here, "plain")


def test_a_run_without_settings(here: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("plain/config.yaml").unlink()
    assert "Name the folder that `eac fit` wrote, or the data: --root" in refused(capsys, here, "plain")
    faces = str(trained / "faces")
    assert "--folds trains the run's module anew" in refused(capsys, here, "plain", "--root", faces, "--folds", "2")
    Path("plain/config.yaml").write_text("data: 3")
    assert "cannot read them" in refused(capsys, here, "plain")


def test_data_of_other_classes(here: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(trained / "faces", "more")
    for split in ("train", "val", "test"):
        shutil.copytree(f"more/{split}/anger", f"more/{split}/fear")
    assert "The module has 3 classes (anger, happiness, neutral), the data 4" in refused(
        capsys, here, "plain", "--root", "more"
    )
    change_config("data", classes=["anger", "neutral", "happiness"])
    assert "same classes in the same order" in refused(capsys, here, "plain")


def test_labels_that_were_corrected_since(
    here: Path, trained: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """What was asked about other labels is not told of these; to ask anew is."""
    Path("corrections.csv").write_text("path,label\ntrain/anger/wrong_2.png,neutral\n")
    config = yaml.safe_load(Path("audited/config.yaml").read_text())
    config["data"]["init_args"]["label_overrides"] = "corrections.csv"
    Path("audited/config.yaml").write_text(yaml.safe_dump(config))
    said = refused(capsys, here, "audited")
    assert "1 of the 33 labels that the network was asked about are not those" in said
    assert "--again" in said
    table = audit("audited", "--again").set_index("path")
    assert table["given"]["train/anger/wrong_2.png"] == "neutral"
    assert not table["suspect"]["train/anger/wrong_2.png"]


@pytest.mark.parametrize("state", [{"epochs": [0]}, {"epochs": [0], "columns": {"count": torch.ones(3)}}, 7])
def test_a_damaged_audit_in_the_checkpoint(state: Any, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = torch.load("audited/last.ckpt", weights_only=True)
    checkpoint["callbacks"]["LabelAuditCallback"] = state
    torch.save(checkpoint, "audited/last.ckpt")
    said = refused(capsys, here, "audited")
    assert "audit in the checkpoint is damaged" in said
    assert len(audit("audited", "--again")) == 33


def test_a_gallery_that_cannot_be_written_leaves_the_earlier_one(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "plain"]) == 0
    earlier = Path("plain/gallery.html").read_bytes()
    monkeypatch.setattr("eac_lightning.labels.gallery._page", lambda shown: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["audit", "plain"])
    assert Path("plain/gallery.html").read_bytes() == earlier
    assert not list(Path("plain").glob(".*partial"))


def test_an_optimizer_from_outside_cannot_be_taken_up_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = yaml.safe_load(Path("plain/config.yaml").read_text())
    config["optimizer"] = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}
    Path("plain/config.yaml").write_text(yaml.safe_dump(config))
    assert "trained with --optimizer, which cannot be taken up again" in refused(capsys, here, "plain", "--folds", "2")


def test_cleanlab_is_missed_before_the_work(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    assert "pip install 'eac-lightning[audit]'" in refused(
        capsys, here, "plain", "--folds", "2", "--method", "cleanlab"
    )
    assert not Path("plain/folds").exists()


def test_folds_are_of_fer_modules(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eac_lightning.audit.run import FinishedRun
    from eac_lightning.errors import ConfigurationError

    monkeypatch.setattr(FinishedRun, "module", lambda self: L.LightningModule())
    with pytest.raises(ConfigurationError, match="Folds are trained of a FERModule"):
        folds_file.audit_folds(FinishedRun(Path("plain")), 2, here / "folds")


def test_help_names_every_score() -> None:
    text = " ".join(build_parser()._subparsers._group_actions[0].choices["audit"].format_help().split())  # type: ignore[union-attr, index, call-overload]
    assert all(name in text for name in SCORES)


def test_audit_correct_and_train_again(here: Path, trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The loop: suspects of an audit become corrections, with which the next training has no wrong label."""
    assert main(["audit", "plain"]) == 0
    table = read_audit(Path("plain"))
    suspect = table[table["suspect"]]
    assert set(suspect["path"]) == WRONG
    pd.DataFrame(
        {"path": suspect["path"], "label": suspect["suggested"], "action": "accept", "given": suspect["given"]}
    ).to_csv("corrections.csv", index=False)
    longer = ["--trainer.max_epochs", "30"]
    assert fit(trained / "faces", here / "again", "--data.label_overrides", "corrections.csv", *longer) == 0
    assert "corrections.csv changed 3 labels." in caplog.text
    corrected = audit("again").set_index("path")
    for path, suggested in zip(suspect["path"], suspect["suggested"], strict=True):
        assert corrected["given"][path] == suggested
        assert corrected["p_given"][path] > 0.5
    before = table.set_index("path")["p_given"]
    assert corrected["p_given"][list(WRONG)].min() > before[list(WRONG)].max()
    others = [frame["given"].astype(str).drop(list(WRONG)) for frame in (corrected, table.set_index("path"))]
    assert others[0].equals(others[1])

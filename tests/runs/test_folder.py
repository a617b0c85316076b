import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from eac_lightning._lightning import L
from eac_lightning.cli import main
from eac_lightning.cli.training import EACCLI, prepare_arguments, train
from eac_lightning.errors import CheckpointError
from eac_lightning.runs.folder import CONFIG, FINISHED, Beginning, RunFolder, changed_settings, find_beginning
from tests.runs.fitting import EPOCHS, OwnCheckpointIO, disturbed, epoch, fit, listed, same, weights
from tests.runs.test_checkpoints import spoil

SETTINGS = {"model": {"lr": 0.1, "options": {}}, "trainer": {"max_epochs": 3}, "ckpt_path": None, "resume": None}


def unfinished(folder: Path, *names: str) -> Path:
    folder.mkdir()
    (folder / CONFIG).write_text(yaml.safe_dump(SETTINGS))
    for name in names or ("last.ckpt", "previous.ckpt"):
        torch.save({"weight": torch.ones(3)}, folder / name)
    return folder


def with_lr(lr: float) -> dict[str, Any]:
    return {**SETTINGS, "model": {"lr": lr, "options": {}}}


@pytest.mark.parametrize(
    ("finished", "settings", "resume", "goes_on"),
    [
        (False, SETTINGS, None, True),
        (False, SETTINGS, True, True),
        (False, SETTINGS, False, False),
        (False, SETTINGS | {"ckpt_path": "x", "resume": True}, None, True),
        (False, with_lr(0.2), None, False),
        (False, with_lr(0.2), True, True),
        (True, SETTINGS, None, False),
        (True, SETTINGS, True, True),
        (True, with_lr(0.2), None, False),
    ],
)
def test_what_a_run_begins_with(
    tmp_path: Path, finished: bool, settings: dict[str, Any], resume: bool | None, goes_on: bool
) -> None:
    folder = unfinished(tmp_path / "run")
    if finished:
        (folder / FINISHED).touch()
    before = listed(folder)
    beginning = find_beginning(folder, settings, resume)
    assert beginning.checkpoint == (folder / "last.ckpt" if goes_on else None)
    assert bool(beginning.notes) == goes_on
    if goes_on:
        state = "a finished run" if finished else "an unfinished run"
        assert f"{state}: going on from last.ckpt (--resume false begins anew)" in beginning.notes[0]
        assert [note.rpartition(": ")[2] for note in beginning.notes[1:]] == ["model.lr"] * (
            settings["model"]["lr"] == 0.2
        )
    assert listed(folder) == before


@pytest.mark.parametrize("resume", [None, True])
def test_without_a_checkpoint_it_begins_anew(tmp_path: Path, resume: bool | None) -> None:
    assert find_beginning(tmp_path / "nowhere", SETTINGS, resume).checkpoint is None
    unfinished(tmp_path / "run", "best.ckpt")
    assert find_beginning(tmp_path / "run", SETTINGS, resume) == Beginning(again=True)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    folder = unfinished(tmp_path / "run")
    spoil(folder / "last.ckpt", "cut")
    beginning = find_beginning(folder, SETTINGS, None)
    assert beginning.checkpoint == folder / "previous.ckpt"
    assert beginning.damaged == [folder / "last.ckpt"]
    assert "damaged and kept as last.ckpt.damaged; the one before it is used" in beginning.notes[0]
    spoil(folder / "previous.ckpt", "zeros")
    with pytest.raises(CheckpointError, match="last.ckpt and previous.ckpt cannot be read.*--resume false"):
        find_beginning(folder, SETTINGS, None)
    assert find_beginning(folder, SETTINGS, False) == Beginning()


@pytest.mark.parametrize("text", [None, b"", b"[1]", b"- : {", b"\xff\xfe", b"a"])
def test_settings_that_cannot_be_read_are_others(tmp_path: Path, text: bytes | None) -> None:
    if text is not None:
        (tmp_path / CONFIG).write_bytes(text)
    assert changed_settings(tmp_path, SETTINGS) == ["model.lr", "model.options", "trainer.max_epochs"]


def test_changed_settings_are_named_also_where_one_side_lacks_them(tmp_path: Path) -> None:
    folder = unfinished(tmp_path / "run")
    assert changed_settings(folder, SETTINGS) == []
    assert changed_settings(folder, {"model": {"lr": 0.1, "options": {"q": 1}}, "trainer": {"max_epochs": 4}}) == [
        "model.options",
        "model.options.q",
        "trainer.max_epochs",
    ]


def test_only_one_process_tidies_up(tmp_path: Path) -> None:
    folder = unfinished(tmp_path / "run")
    waited: list[str] = []
    trainer = SimpleNamespace(strategy=SimpleNamespace(barrier=waited.append), is_global_zero=False)
    RunFolder(folder, Beginning()).setup(trainer, None, "fit")  # type: ignore[arg-type]
    assert waited
    assert listed(tmp_path) == ["run"]


@pytest.mark.parametrize("kind", ["error", "interrupt"])
def test_the_same_command_goes_on_and_ends_as_if_nothing_had_been(
    here: Path, faces: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    command = fit(faces, disturbed(kind))
    if kind == "error":
        with pytest.raises(RuntimeError, match="the power is gone"):
            main(command)
    else:
        assert main(command) == 130
    assert epoch() == 1
    assert not Path("run/finished").exists()
    assert main(command) == 0
    assert "run holds an unfinished run: going on from last.ckpt" in caplog.text
    assert Path("run/finished").exists()
    assert not Path("run-1").exists()

    caplog.clear()
    assert main(fit(faces, disturbed(kind), folder="whole")) == 0
    assert "unfinished" not in caplog.text
    assert same(weights(), weights("whole"))
    assert same(weights(name="best.ckpt"), weights("whole", "best.ckpt"))
    assert Path("run/metrics.csv").read_bytes() == Path("whole/metrics.csv").read_bytes()


def test_a_run_of_other_settings_is_kept_and_said(here: Path, faces: Path, caplog: pytest.LogCaptureFixture) -> None:
    command = fit(faces, disturbed("interrupt"))
    assert main(command) == 130
    assert main([*command, "--model.lr=0.02"]) == 0
    assert "run held a run, unfinished (go on: --trainer.default_root_dir" in caplog.text
    assert (epoch("run-1"), epoch()) == (1, EPOCHS)
    assert main([*command, "--model.lr=0.02"]) == 0  # a finished one is not taken up
    assert Path("run-2/finished").exists()
    assert re.search("run held a run, finished; it is now .*run-2", caplog.text)
    caplog.clear()
    assert main([*command, "--model.lr=0.02", "--resume=true", "--trainer.max_epochs=4"]) == 0
    assert "a finished run: going on from last.ckpt" in caplog.text
    assert "settings that differ from those it began with: trainer.max_epochs" in caplog.text
    assert epoch() == 4
    assert main([*command, "--resume=false", "--trainer.fast_dev_run=true"]) == 0  # which touches nothing
    assert epoch() == 4
    assert listed(Path()) == ["disturbed", "faces", "run", "run-1", "run-2"]


@pytest.mark.parametrize("options", [[], ["--ckpt_path=last"]])
def test_a_damaged_checkpoint_costs_an_epoch_and_nothing_more(
    here: Path, faces: Path, caplog: pytest.LogCaptureFixture, options: list[str]
) -> None:
    assert main(fit(faces)) == 0
    whole = weights()
    Path("run/finished").unlink()
    spoil(Path("run/last.ckpt"), "cut")
    damaged = Path("run/last.ckpt").read_bytes()
    assert main(["validate", *fit(faces)[1:]]) == 0
    assert "run/last.ckpt is damaged" in caplog.text
    assert "using run/previous.ckpt" in caplog.text
    caplog.clear()
    assert main(fit(faces, *options)) == 0
    assert "run/last.ckpt is damaged" in caplog.text
    assert Path("run/last.ckpt.damaged").read_bytes() == damaged
    assert (epoch(name="previous.ckpt"), epoch()) == (EPOCHS - 1, EPOCHS)
    assert same(weights(), whole)
    assert not Path("run-1").exists()


def test_where_all_is_damaged_nothing_is_lost(here: Path, faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(fit(faces)) == 0
    Path("run/finished").unlink()
    for name in ("last.ckpt", "previous.ckpt"):
        spoil(Path("run", name), "zeros at the end")
    before = {path: path.read_bytes() for path in Path("run").glob("*.*")}
    assert main(fit(faces)) == 1
    assert "last.ckpt and previous.ckpt cannot be read" in " ".join(capsys.readouterr().err.split())
    assert main(fit(faces, "--ckpt_path=run/last.ckpt")) == 1
    assert "run/last.ckpt is damaged" in " ".join(capsys.readouterr().err.split())
    assert {path: path.read_bytes() for path in Path("run").glob("*.*")} == before
    assert main(fit(faces, "--resume=false")) == 0
    kept = {Path("run", path.name): path.read_bytes() for path in Path("run-1").glob("*.*")}
    assert kept == before
    assert Path("run/finished").exists()


def test_a_checkpoint_below_the_folder_is_still_there_when_it_is_read(here: Path, faces: Path) -> None:
    assert main(fit(faces)) == 0
    Path("run/kept").mkdir()
    Path("run/previous.ckpt").rename("run/kept/second.ckpt")
    whole = weights()
    assert main(fit(faces, "--ckpt_path=run/kept/second.ckpt")) == 0
    assert same(weights(), whole)
    assert not Path("run-1").exists()
    assert main(fit(faces, "--ckpt_path=run/kept/second.ckpt", folder="other")) == 0
    assert same(weights("other"), whole)


@pytest.mark.parametrize(
    "why", ["monitor: val/accuracy, min_delta: 2, patience: 1", "monitor: mine, stopping_threshold: 5"]
)
def test_a_run_that_was_stopped_early_is_not_trained_further(here: Path, faces: Path, why: str) -> None:
    stop = f"{{class_path: EarlyStopping, init_args: {{mode: max, {why}}}}}"
    steps = "--trainer.callbacks+={class_path: tests.runs.fitting.Steps}"  # the sixth step ends the second epoch
    command = fit(faces, steps, f"--trainer.callbacks+={stop}", "--trainer.max_epochs=4")
    assert main(command) == 0
    assert epoch() == 2
    before = weights()
    Path("run/finished").unlink()  # as if it had been killed while the audit was written
    assert main(command) == 0
    assert epoch() == 2
    assert same(weights(), before)
    assert Path("run/finished").exists()


def test_a_users_own_way_to_write_checkpoints_is_used(here: Path, faces: Path) -> None:
    OwnCheckpointIO.written.clear()
    own = "--trainer.plugins=[{class_path: tests.runs.fitting.OwnCheckpointIO}]"
    assert main(fit(faces, own, "--trainer.max_epochs=2")) == 0
    assert OwnCheckpointIO.written.count("last.ckpt") == 2
    assert not Path("run/previous.ckpt").exists()
    other = f"--trainer.plugins=[{{class_path: {L.__name__}.plugins.environments.LightningEnvironment}}]"
    assert main(fit(faces, other, "--trainer.max_epochs=2", folder="other")) == 0
    assert Path("other/previous.ckpt").exists()


def test_a_run_that_saved_nothing_gives_an_earlier_one_its_place_back(
    here: Path, faces: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(fit(faces)) == 0
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    nothing = fit(faces, "--trainer.max_steps=0", "--ckpt_path=elsewhere.ckpt")
    spoil(Path("run/best.ckpt"), "cut")
    Path("run/best.ckpt").rename("elsewhere.ckpt")
    assert main(nothing) == 1
    assert "this run saved nothing; run holds the earlier one again" in caplog.text
    del before[Path("run/best.ckpt")]
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before
    assert listed(Path()) == ["elsewhere.ckpt", "faces", "run"]


def test_a_test_after_the_fit_is_of_the_same_run(here: Path, faces: Path) -> None:
    fitted = train(prepare_arguments(fit(faces)), EACCLI)
    assert fitted is not None
    fitted.trainer.test(fitted.model, datamodule=fitted.datamodule, verbose=False)
    assert [path.name for path in here.iterdir() if path.name.startswith("run")] == ["run"]
    assert set(json.loads((here / "run/results.json").read_text())) >= {"fit", "test"}
    assert (here / "run" / FINISHED).exists()

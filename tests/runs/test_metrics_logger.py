import csv
from pathlib import Path

import pytest

from eac_lightning._lightning import L
from eac_lightning.cli import main
from eac_lightning.runs import metrics_logger
from eac_lightning.runs.metrics_logger import METRICS, MetricsLogger
from tests.runs.fitting import EPOCHS, disturbed, fit


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_logged_of_one_step_is_one_row(tmp_path: Path) -> None:
    logger = MetricsLogger(tmp_path / "run")
    logger.log_metrics({"val/accuracy": 0.5, "epoch": 0}, 3)
    logger.log_metrics({"train/loss": 1.25}, 3)
    logger.log_metrics({"late": 7})
    logger.log_hyperparams({"lr": 1})
    logger.finalize("success")
    assert (tmp_path / "run" / METRICS).read_text() == (
        "epoch,step,late,train/loss,val/accuracy\n0,3,,1.25,0.5\n-1,4,7.0,,\n"
    )
    assert (logger.name, logger.version, logger.save_dir) == ("", "", str(tmp_path / "run"))


def test_nothing_logged_is_no_file(tmp_path: Path) -> None:
    MetricsLogger(tmp_path).finalize("success")
    assert not (tmp_path / METRICS).exists()


def test_the_table_is_written_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(metrics_logger.time, "monotonic", lambda: now)
    logger, path = MetricsLogger(tmp_path), tmp_path / METRICS
    logger.log_metrics({"a": 1}, 0)
    logger.save()
    assert len(rows(path)) == 1
    logger.log_metrics({"a": 2}, 1)
    now += 4.9
    logger.save()
    assert len(rows(path)) == 1
    now += 0.1
    logger.save()
    assert len(rows(path)) == 2


def test_only_the_first_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_logger.rank_zero_only, "rank", 1, raising=False)
    logger = MetricsLogger(tmp_path)
    logger.log_metrics({"a": 1}, 0)
    logger.save()
    logger.finalize("success")
    assert not logger.rows
    assert not (tmp_path / METRICS).exists()


def test_an_epoch_is_a_row_of_training_and_validation(here: Path, faces: Path) -> None:
    assert main(fit(faces)) == 0
    found = rows(Path("run/metrics.csv"))
    assert [int(row["epoch"]) for row in found] == list(range(EPOCHS))
    assert [int(row["step"]) for row in found] == [2, 5, 8]
    assert all(row["train/loss"] and row["val/accuracy"] and row["val/macro_f1"] for row in found)


def test_what_a_user_logs_at_every_step_is_kept_over_an_interruption(here: Path, faces: Path) -> None:
    steps = ["--trainer.callbacks+={class_path: tests.runs.fitting.Steps}", "--trainer.log_every_n_steps=1"]
    command = fit(faces, *steps, disturbed("interrupt"))
    assert main(command) == 130
    assert main(command) == 0
    assert main(fit(faces, *steps, folder="whole")) == 0
    assert Path("run/metrics.csv").read_bytes() == Path("whole/metrics.csv").read_bytes()
    found = rows(Path("run/metrics.csv"))
    assert [float(row["mine"]) for row in found] == list(range(1, 3 * EPOCHS + 1))
    assert [bool(row["val/accuracy"]) for row in found] == [False, False, True] * EPOCHS


def test_a_users_own_logger_is_used(here: Path, faces: Path) -> None:
    own = f"{{class_path: {L.__name__}.loggers.CSVLogger, init_args: {{save_dir: logs}}}}"
    assert main(fit(faces, f"--trainer.logger={own}", "--trainer.max_epochs=1")) == 0
    assert len(list(Path("logs").rglob("metrics.csv"))) == 1
    assert not Path("run/metrics.csv").exists()
    assert Path("run/last.ckpt").exists()

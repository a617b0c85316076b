"""How commands end that cannot go on: in a sentence, and with a status as shells have it."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from eac_lightning import cli
from eac_lightning.cli import main
from eac_lightning.cli.failures import explained
from eac_lightning.cli.system_errors import explain_refusal
from eac_lightning.errors import DataError, ProcessDiedError
from eac_lightning.interrupts import end_at_once, interrupt, two_interrupts


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
    yield
    signal.signal(signal.SIGINT, before)


def test_the_cause_is_what_is_said() -> None:
    with pytest.raises(ProcessDiedError, match="rank 1 died"), explained():
        raise RuntimeError("Connection closed by peer") from ProcessDiedError("rank 1 died")


@pytest.mark.parametrize("error", [KeyError("mine"), DataError("ours"), SystemExit(3)])
def test_anything_else_stays_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, explained():
        raise error
    assert raised.value is error


def test_an_interrupt_stays_one() -> None:
    """Lightning catches it and exits with 1."""
    exit_of_lightning = SystemExit(1)
    exit_of_lightning.__context__ = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt), explained():
        raise exit_of_lightning


def test_sigterm_is_no_success() -> None:
    from pytorch_lightning.utilities.exceptions import SIGTERMException

    with pytest.raises(SystemExit) as raised, explained():
        raise SIGTERMException
    assert raised.value.code == 143


def test_the_second_interrupt_is_the_last() -> None:
    code = (
        "import os, signal\nfrom eac_lightning.interrupts import two_interrupts\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell has its background jobs ignore it
        "with two_interrupts():\n try: os.kill(os.getpid(), signal.SIGINT)\n"
        " except KeyboardInterrupt: print('first', flush=True); os.kill(os.getpid(), signal.SIGINT)\n print('too far')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130
    assert done.stdout == "first\n"
    assert done.stderr.strip() == "Interrupted again: ended at once. What was finished is kept."


def test_end_at_once_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    end_at_once(signal.SIGINT, None)
    assert ended == [130]
    assert "ended at once" in capsys.readouterr().err


def test_the_handler_is_given_back_unless_interrupted() -> None:
    before = signal.getsignal(signal.SIGINT)
    with two_interrupts():
        assert signal.getsignal(signal.SIGINT) is interrupt
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(DataError), two_interrupts():
        raise DataError("ours")
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt), two_interrupts():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is end_at_once


def test_who_calls_from_python_gets_the_handler_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(cli, "import_module", interrupted)
    assert main(["recipes"]) == 130
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.setattr(sys, "argv", ["eac", "recipes"])
    assert main() == 130
    assert signal.getsignal(signal.SIGINT) is end_at_once  # until Python has ended


def test_who_ignores_interrupts_goes_on_to() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with two_interrupts():
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_another_thread_has_no_handlers() -> None:
    seen: list[object] = []

    def work() -> None:
        with two_interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_refusal_names_the_place(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(name: str) -> None:
        raise OSError(number, os.strerror(number), "/data/run")

    monkeypatch.setattr(cli, "import_module", refused)
    assert main(["recipes"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(f"Error: /data/run: {os.strerror(number)}. Expected to be allowed to read the data")
    assert "--trainer.default_root_dir" in said


def test_a_refusal_may_know_no_place() -> None:
    assert (explain_refusal(PermissionError(errno.EACCES, "Permission denied")) or "").startswith("a file: Permission")


def test_a_file_in_the_way_of_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main(["synth", "file/below", "--count", "56"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "Error: file" in said
    assert "A file stands where a folder is to be" in said


def test_other_errors_of_the_system_are_not_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(cli, "import_module", broken)
    with pytest.raises(OSError, match="Input/output error"):
        main(["recipes"])


@pytest.mark.parametrize("place", ["locked/run", "faces/train"])
def test_what_a_run_may_not_write_or_read(
    place: str, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the system refuses it; to root it refuses nothing, so that permissions alone would not show it."""
    closed = str(tmp_path / place)

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if (
            watching
            and event in ("open", "os.mkdir", "os.scandir", "os.listdir")
            and str(arguments[0]).startswith(closed)
        ):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(arguments[0]))

    watching = [True]
    sys.addaudithook(refuse)
    options = ["--model.backbone", "tiny", "--data.image_size", "16", "--trainer.max_epochs", "1"]
    folder = ["--trainer.default_root_dir", str(tmp_path / "locked" / "run"), "--trainer.enable_progress_bar", "false"]
    try:
        assert main(["fit", "-c", "ce_mobilefacenet", "--data.root", str(faces), *options, *folder]) == 1
    finally:
        watching.clear()
    said = "".join(capsys.readouterr().err.split())
    assert closed in said
    assert "Permissiondenied" in said


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])
@pytest.mark.parametrize("processes", ["4", "many"])
@pytest.mark.parametrize(
    "command",
    [
        ["synth", "out"], ["faces", "in", "out"], ["noise", "in", "--rate", "0.1"], ["data pack", "in", "out"],
        ["weights", "convert", "a", "b"], ["cam", "ckpt", "a.png"], ["audit", "run"], ["infer", "ckpt", "a.png"],
        ["compare", "-c", "quickstart"],
    ],
)  # fmt: skip
def test_commands_of_one_process_refuse_launchers(
    variable: str,
    processes: str,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, processes)
    assert main(command) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"`eac {command[0]}` runs as one process, but this is one of {processes}" in said


@pytest.mark.parametrize("command", [["recipes"], ["weights", "list"], ["synth", "--help"]])
def test_who_only_reads_may_be_many(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with suppress(SystemExit):  # of the help
        assert main(command) == 0


def test_compare_refuses_several_devices(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data.root", str(faces), "--trainer.default_root_dir", str(tmp_path / "run")]
    several = ["--trainer.accelerator", "cpu", "--trainer.devices", "2"]
    assert main(["compare", "-c", "eac_mobilefacenet", "--model.backbone", "tiny", *options, *several]) == 1
    assert "`eac compare` runs as one process, but 2 were asked for" in " ".join(capsys.readouterr().err.split())

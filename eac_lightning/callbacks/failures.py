"""What to do about a failure, said by the process that has it and by those that it takes along."""

import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import torch.distributed as dist

from eac_lightning._lightning import L
from eac_lightning.callbacks.memory import fitting_batch, is_out_of_memory, said_by
from eac_lightning.errors import EACError, OutOfMemoryError, ProcessDiedError
from eac_lightning.interrupts import end_at_once, handle, terminate
from eac_lightning.process_watch import ProcessWatch, meet

Trainer = TypeVar("Trainer", bound=L.Trainer)
_TO_BE_GONE = 5.0  # seconds that a process takes from its last closed connection to its exit status


class FailureReport(L.Callback):
    """Explains why a run ends: the explanation is the ``__cause__`` of the exception that ends it.

    - Another process died: :class:`~eac_lightning.errors.ProcessDiedError` names it. A process that does not notice
      by itself is ended half a minute later, see :class:`~eac_lightning.process_watch.ProcessWatch`. Who catches the
      exception lives on.
    - Memory ran out: :class:`~eac_lightning.errors.OutOfMemoryError` says which batch size fits.

    A second Ctrl-C ends the process at once, while Lightning still tidies up after the first. SIGTERM ends all
    processes.

    As a callback it begins to watch when the data have been read; :func:`report_failures` has it begin before.
    """

    def __init__(self) -> None:
        self.watch: ProcessWatch | None = None
        self._batch: Any = None

    def begin(self, trainer: L.Trainer) -> None:
        """Watch over the other processes, of which all call this; once is enough."""
        if self.watch is None and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            self.watch = meet(lambda rank: _how_child_ended(trainer, rank), trainer.num_nodes == 1)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Watch, unless something has begun before."""
        self.begin(trainer)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Have SIGTERM end this process and, by the watch, the others.

        Lightning would broadcast the news from within the signal's handler, where it may meet another collective.
        """
        if self.watch is not None:
            handle(signal.SIGTERM, terminate)

    on_sanity_check_start = on_validation_start = on_test_start = on_predict_start = on_train_start

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Stop watching: from here on processes end because they are done."""
        if self.watch is not None:
            self.watch.close()
        self.watch = self._batch = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the batch for the case that it is too large."""
        self._batch = batch

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the batch for the case that it is too large."""
        self._batch = batch

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let go of it."""
        self._batch = None

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Let go of it."""
        self._batch = None

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Find out what happened, tell the other processes, and leave the explanation with the exception."""
        if self.watch:
            self._close_when_tidy(trainer)
        if isinstance(exception, KeyboardInterrupt):
            handle(signal.SIGINT, end_at_once)  # Lightning would ignore it from here on
        elif is_out_of_memory(exception):
            exception.__cause__ = OutOfMemoryError(self._what_would_fit(trainer, pl_module, exception))
        elif self.watch and not isinstance(exception, (EACError, SystemExit)) and (news := self.watch.news()):
            exception.__cause__ = ProcessDiedError(news)
            return
        if self.watch:
            said = exception.__cause__ if isinstance(exception.__cause__, EACError) else exception
            names = {KeyboardInterrupt: "it was interrupted", SystemExit: "it was told to end"}
            self.watch.tell(names.get(type(said), f"{type(said).__name__}: {said}"[:2000]))

    def _close_when_tidy(self, trainer: L.Trainer) -> None:
        """Watch until Lightning has tidied up, where it may hang; what comes then is the caller's."""
        teardown: Callable[[], None] = trainer.strategy.teardown

        def teardown_and_close() -> None:
            trainer.strategy.teardown = teardown  # type: ignore[method-assign]
            try:
                teardown()
            finally:
                self.teardown(trainer, trainer.lightning_module, "")

        trainer.strategy.teardown = teardown_and_close  # type: ignore[method-assign]

    def _what_would_fit(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> str:
        batch, self._batch = self._batch, None
        if batch is None:
            return (
                f"Memory ran out before the first batch ({said_by(exception)}). Keep the pictures on disk "
                "(--data.cache disk), or keep them smaller (--data.image_size)."
            )
        return fitting_batch(trainer, module, batch, exception)


def report_failures(trainer: Trainer) -> Trainer:
    """Add a :class:`FailureReport` that watches as soon as the processes have met, and return the trainer."""
    report = FailureReport()
    trainer.callbacks.insert(0, report)  # type: ignore[attr-defined]  # before any that takes its time to tidy up
    connect: Callable[[], None] = trainer.strategy.setup_environment

    def connect_and_watch() -> None:
        connect()
        report.begin(trainer)

    trainer.strategy.setup_environment = connect_and_watch  # type: ignore[method-assign]
    return trainer


def _how_child_ended(trainer: L.Trainer, rank: int) -> str:
    """Return how a process ended that this one has started, as Lightning's own launcher does; else ``""``."""
    children = getattr(trainer.strategy.launcher, "procs", [])
    if not 1 <= rank <= len(children):
        return ""
    with suppress(subprocess.TimeoutExpired):
        status = children[rank - 1].wait(_TO_BE_GONE)
        if status >= 0:
            return f"with exit code {status}"
        memory = ", which the system sends when memory runs out" if -status == signal.SIGKILL else ""
        return f"by signal {-status} ({signal.strsignal(-status)}){memory}"
    return ""

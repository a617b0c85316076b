"""What has been seen of every training sample's label: sums over epochs, by sample index."""

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from eac_lightning.errors import CheckpointError
from eac_lightning.labels.scores import label_loss, label_margin
from eac_lightning.types import UNKNOWN_LABEL

_CHUNK = 65536
_FLOAT = torch.float32  # whatever the default is, which a run's precision may change


class Observations:
    """What one epoch has seen so far: the last answer to each sample, by its index.

    Attributes:
        columns: ``given`` (N,) int16, ``UNKNOWN_LABEL`` where a sample was not seen; ``logits`` (N, K) float32;
            ``consistency`` and ``agreement`` (N,) float32, NaN where unknown.
    """

    def __init__(self, num_classes: int) -> None:
        self.columns = {
            "given": torch.empty(0, dtype=torch.int16),
            "logits": torch.empty(0, num_classes, dtype=_FLOAT),
            "consistency": torch.empty(0, dtype=_FLOAT),
            "agreement": torch.empty(0, dtype=_FLOAT),
        }

    def see(
        self,
        index: Tensor,
        given: Tensor,
        logits: Tensor,
        consistency: Tensor | None = None,
        agreement: Tensor | None = None,
    ) -> None:
        """Keep a batch.

        Args:
            index: (n,) sample indices ≥ 0.
            given: (n,) given labels.
            logits: (n, K).
            consistency: (n,), see :func:`~eac_lightning.labels.scores.flip_consistency`.
            agreement: (n,), see :func:`~eac_lightning.labels.scores.view_agreement`.
        """
        index = index.cpu()
        length = int(index.max()) + 1
        if length > len(self.columns["given"]):
            # By a half more than there is, so that growing batch by batch stays linear.
            length = max(length, 3 * len(self.columns["given"]) // 2)
            for name, empty in _EMPTY.items():
                self.columns[name] = _grown(self.columns[name], length, empty)
        seen = {"given": given, "logits": logits, "consistency": consistency, "agreement": agreement}
        for name, values in seen.items():
            if values is not None:
                column = self.columns[name]
                column[index] = values.detach().to("cpu", column.dtype)

    def gather(self) -> None:
        """Bring together what all processes have seen, so that each of them has it whole."""
        if not (dist.is_available() and dist.is_initialized()):
            return
        index = torch.nonzero(self.columns["given"] != UNKNOWN_LABEL)[:, 0]
        mine = (index, {name: column[index] for name, column in self.columns.items()})
        parts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(parts, mine)
        for rows, columns in parts:
            if len(rows):
                self.see(rows, **columns)


_EMPTY = {"given": UNKNOWN_LABEL, "logits": 0.0, "consistency": torch.nan, "agreement": torch.nan}


class AuditRecord:
    """Sums over the audited epochs, by sample index, in O(N) memory: 78 bytes a sample for 8 classes.

    Attributes:
        num_classes: K.
        epochs: The epochs that were audited.
        columns: By name, tensors of N rows; a row of an index that was never seen has ``count`` 0.
            ``count``: epochs that have seen the sample; ``given``: its label;
            ``loss``, ``margin``: of the last of them; ``consistency``, ``agreement``: of the last that had mirrored
            views, else NaN; ``margin_sum``; ``disagreements``: epochs that predicted another label than the given;
            ``probability_sum`` (N, K); ``log_probability`` (N, K) float16, of the last of them.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.epochs: list[int] = []
        self.columns = {
            "count": torch.empty(0, dtype=torch.int32),
            "given": torch.empty(0, dtype=torch.int16),
            "loss": torch.empty(0, dtype=_FLOAT),
            "margin": torch.empty(0, dtype=_FLOAT),
            "consistency": torch.empty(0, dtype=_FLOAT),
            "agreement": torch.empty(0, dtype=_FLOAT),
            "margin_sum": torch.empty(0, dtype=_FLOAT),
            "disagreements": torch.empty(0, dtype=torch.int32),
            "probability_sum": torch.empty(0, num_classes, dtype=_FLOAT),
            "log_probability": torch.empty(0, num_classes, dtype=torch.float16),
        }

    def add(self, epoch: int, seen: Observations) -> None:
        """Add an epoch, in chunks, so that nothing of N·K is held twice."""
        present = torch.nonzero(seen.columns["given"] != UNKNOWN_LABEL)[:, 0]
        length = int(present.max()) + 1 if len(present) else 0
        self.columns = {name: _grown(column, length, _EMPTY.get(name, 0)) for name, column in self.columns.items()}
        for start in range(0, length, _CHUNK):
            given = seen.columns["given"][start : start + _CHUNK]
            rows = torch.nonzero(given != UNKNOWN_LABEL)[:, 0]
            part = {name: column[start : start + _CHUNK][rows] for name, column in seen.columns.items()}
            self._add_rows(rows + start, part)
        self.epochs.append(epoch)

    def _add_rows(self, rows: Tensor, seen: dict[str, Tensor]) -> None:
        logits, given = seen["logits"], seen["given"].long()
        columns, margin = self.columns, label_margin(logits, given)
        columns["count"][rows] += 1
        columns["given"][rows] = seen["given"]
        columns["loss"][rows] = label_loss(logits, given)
        columns["margin"][rows] = margin
        columns["margin_sum"][rows] += margin
        columns["disagreements"][rows] += (logits.argmax(1) != given).int()
        columns["probability_sum"][rows] += logits.softmax(1)
        columns["log_probability"][rows] = logits.log_softmax(1).half()
        for name in ("consistency", "agreement"):
            columns[name][rows] = torch.where(seen[name].isnan(), columns[name][rows], seen[name])

    def state_dict(self) -> dict[str, Any]:
        """Return what must survive an interruption: tensors and numbers."""
        return {"epochs": list(self.epochs), "columns": dict(self.columns)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from an interruption.

        Raises:
            CheckpointError: If it is of another number of classes, or damaged.
        """
        try:
            columns = {name: state["columns"][name].clone() for name in self.columns}
            epochs = [int(epoch) for epoch in state["epochs"]]
            found = columns["probability_sum"].shape[1]
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise CheckpointError(
                f"The audit in the checkpoint is damaged or of another version ({type(error).__name__}: {error}). "
                "Audit anew: eac audit --again, or train without the checkpoint."
            ) from error
        if found != self.num_classes:
            raise CheckpointError(
                f"The checkpoint's audit is of {found} classes, but the module has {self.num_classes}. Start without "
                "the checkpoint, or give the data its classes."
            )
        self.epochs, self.columns = epochs, columns


def _grown(column: Tensor, length: int, empty: float) -> Tensor:
    """Return the column with at least ``length`` rows, new ones ``empty``."""
    missing = max(0, length - len(column))
    return torch.cat([column, column.new_full((missing, *column.shape[1:]), empty)]) if missing else column

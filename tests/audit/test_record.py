"""The sums of an audit against loops over epochs and samples, their growth, their size, and their checkpoint."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from eac_lightning.audit import record as record_module
from eac_lightning.audit.record import AuditRecord, Observations
from eac_lightning.errors import CheckpointError
from eac_lightning.types import UNKNOWN_LABEL

CLASSES = 3
SAMPLES = 11


def epoch(number: int, mirror: bool = False) -> Observations:
    """What an epoch sees of samples 0 to 10, in batches of 4: never of sample 3, of the last only in the second."""
    generator = torch.Generator().manual_seed(number)
    seen = Observations(CLASSES)
    index = torch.tensor([i for i in range(SAMPLES) if i != 3 and (i < SAMPLES - 1 or number == 1)])
    for rows in index[torch.randperm(len(index), generator=generator)].split(4):
        logits = torch.randn(len(rows), CLASSES, generator=generator)
        views = (torch.rand(len(rows), generator=generator), torch.rand(len(rows), generator=generator))
        seen.see(rows, rows % CLASSES, logits, *(views if mirror else ()))
    return seen


def naive(epochs: list[Observations]) -> dict[int, dict[str, Any]]:
    rows: dict[int, dict[str, Any]] = {}
    for seen in epochs:
        for i, given in enumerate(seen.columns["given"].tolist()):
            if given == UNKNOWN_LABEL:
                continue
            logits = seen.columns["logits"][i].tolist()
            sizes = [math.exp(value) for value in logits]
            margin = logits[given] - max(value for k, value in enumerate(logits) if k != given)
            row = rows.setdefault(
                i, {"count": 0, "margin_sum": 0, "disagreements": 0, "probability_sum": [0.0] * CLASSES}
            )
            row["count"] += 1
            row["given"] = given
            row["loss"] = -math.log(sizes[given] / sum(sizes))
            row["margin"] = margin
            row["margin_sum"] += margin
            row["disagreements"] += logits.index(max(logits)) != given
            row["probability_sum"] = [
                old + size / sum(sizes) for old, size in zip(row["probability_sum"], sizes, strict=True)
            ]
            for name in ("consistency", "agreement"):
                value = float(seen.columns[name][i])
                row[name] = row.get(name, math.nan) if math.isnan(value) else value
    return rows


def added(epochs: list[Observations]) -> AuditRecord:
    record = AuditRecord(CLASSES)
    for number, seen in enumerate(epochs):
        record.add(number, seen)
    return record


@pytest.mark.parametrize("chunk", [1, 4, 5, 11, 65536])
def test_sums_over_epochs_are_those_of_a_loop(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_module, "_CHUNK", chunk)
    epochs = [epoch(0), epoch(1, mirror=True), epoch(2)]
    record, expected = added(epochs), naive(epochs)
    assert record.epochs == [0, 1, 2]
    assert torch.nonzero(record.columns["count"])[:, 0].tolist() == sorted(expected)
    assert set(expected) == set(range(SAMPLES)) - {3}
    for i, row in expected.items():
        for name, value in row.items():
            found = record.columns[name][i].double()
            torch.testing.assert_close(found, torch.tensor(value).double(), rtol=1e-5, atol=1e-5, equal_nan=True)


def test_a_sample_that_was_never_seen_counts_nothing() -> None:
    record = added([epoch(0)])
    row = {name: column[3] for name, column in record.columns.items()}
    assert row["count"] == 0
    assert row["given"] == UNKNOWN_LABEL
    assert row["consistency"].isnan()
    assert row["probability_sum"].tolist() == [0, 0, 0]


def test_a_later_epoch_may_see_more_and_one_that_saw_nothing_adds_nothing() -> None:
    record = added([epoch(0), epoch(1), Observations(CLASSES)])
    assert record.columns["count"].tolist() == [2, 2, 2, 0, 2, 2, 2, 2, 2, 2, 1]
    assert record.epochs == [0, 1, 2]


def test_an_interrupted_record_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    epochs = [epoch(0, mirror=True), epoch(1), epoch(2)]
    torch.save(added(epochs[:2]).state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed, whole = AuditRecord(CLASSES), added(epochs)
    resumed.load_state_dict(state)
    resumed.add(2, epochs[2])
    assert resumed.epochs == whole.epochs
    assert set(resumed.columns) == set(whole.columns)
    for name, column in whole.columns.items():
        torch.testing.assert_close(resumed.columns[name], column, rtol=0, atol=0, equal_nan=True)
    assert state["columns"]["count"].max() == 2  # what was loaded stays as it was


def test_a_record_of_other_classes_is_refused() -> None:
    with pytest.raises(CheckpointError, match="audit is of 3 classes, but the module has 4"):
        AuditRecord(4).load_state_dict(added([epoch(0)]).state_dict())


@pytest.mark.parametrize("damage", ["epochs", "columns", "aggregate", "loss"])
def test_a_damaged_record_is_refused_and_nothing_is_taken_over(damage: str) -> None:
    record, state = added([epoch(0)]), added([epoch(1), epoch(2)]).state_dict()
    if damage == "aggregate":
        state["columns"]["probability_sum"] = torch.zeros(3)
    else:
        (state["columns"] if damage == "loss" else state).pop(damage)
    before = dict(record.columns)
    with pytest.raises(CheckpointError, match="damaged or of another version .* eac audit --again"):
        record.load_state_dict(state)
    assert record.epochs == [0]
    assert all(record.columns[name] is column for name, column in before.items())


def test_a_column_grows_with_what_is_unknown() -> None:
    seen = Observations(CLASSES)
    seen.see(torch.tensor([5]), torch.tensor([2]), torch.ones(1, CLASSES))
    assert seen.columns["given"].tolist() == [UNKNOWN_LABEL] * 5 + [2]
    assert seen.columns["consistency"].isnan().all()
    assert seen.columns["logits"][:5].eq(0).all()


def test_the_last_answer_stands_and_a_pass_without_views_keeps_what_is_known_of_them() -> None:
    seen, index = Observations(CLASSES), torch.tensor([1, 0])
    seen.see(index, torch.tensor([0, 1]), torch.zeros(2, CLASSES), torch.tensor([0.25, 0.5]), torch.tensor([1.0, 0.75]))
    logits = torch.randn(2, CLASSES, dtype=torch.float16, requires_grad=True)
    seen.see(index, torch.tensor([2, 2]), logits)
    assert seen.columns["given"].tolist() == [2, 2]
    assert seen.columns["consistency"].tolist() == [0.5, 0.25]
    assert seen.columns["agreement"].tolist() == [0.75, 1]
    torch.testing.assert_close(seen.columns["logits"], logits.detach().flip(0).float())
    assert not seen.columns["logits"].requires_grad


def test_growing_sample_by_sample_copies_seldom() -> None:
    seen, lengths = Observations(CLASSES), set()
    for i in range(2000):
        seen.see(torch.tensor([i]), torch.tensor([0]), torch.zeros(1, CLASSES))
        lengths.add(len(seen.columns["given"]))
    assert len(lengths) < 25
    assert max(lengths) <= 3000


class Together:
    """Stands in for the process group of several ranks, of which this is the first."""

    def __init__(self, others: list[Any]) -> None:
        self.others = others

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(record_module.dist, "is_available", lambda: True)
        monkeypatch.setattr(record_module.dist, "is_initialized", lambda: True)
        monkeypatch.setattr(record_module.dist, "get_world_size", lambda: 1 + len(self.others))
        monkeypatch.setattr(record_module.dist, "all_gather_object", self.gather)

    def gather(self, parts: list[Any], mine: Any) -> None:
        parts[:] = [mine, *self.others]


def share(whole: Observations, rows: Tensor) -> Observations:
    seen = Observations(CLASSES)
    seen.see(rows, **{name: column[rows] for name, column in whole.columns.items()})
    return seen


def test_ranks_together_have_seen_what_one_would_have(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = epoch(1, mirror=True)
    present = torch.nonzero(whole.columns["given"] != UNKNOWN_LABEL)[:, 0]
    mine, other = share(whole, present[::2]), share(whole, present[1::2])
    rows = present[1::2]
    nothing = (present[:0], {name: column[:0] for name, column in other.columns.items()})
    part = (rows, {name: column[rows] for name, column in other.columns.items()})
    Together([part, nothing]).install(monkeypatch)
    mine.gather()
    record, expected = AuditRecord(CLASSES), AuditRecord(CLASSES)
    record.add(0, mine)
    expected.add(0, whole)
    for name, column in expected.columns.items():
        torch.testing.assert_close(record.columns[name], column, rtol=0, atol=0, equal_nan=True)


def test_one_process_gathers_nothing() -> None:
    seen = epoch(0)
    before = dict(seen.columns)
    seen.gather()
    assert all(seen.columns[name] is column for name, column in before.items())


def test_a_million_samples_take_less_than_200_megabytes() -> None:
    samples, classes = 1_000_000, 8
    seen, record = Observations(classes), AuditRecord(classes)
    for start in range(0, samples, 125_000):
        index = torch.arange(start, start + 125_000)
        seen.see(index, index % classes, torch.zeros(len(index), classes))
    record.add(0, seen)
    size = [sum(column.nbytes for column in part.columns.values()) for part in (record, seen)]
    assert size[0] == 78 * samples  # as its docstring says
    assert sum(size) < 150e6
    assert record.columns["count"].sum() == samples

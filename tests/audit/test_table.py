"""An audit's table and figures, from records made by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from eac_lightning.audit.record import AuditRecord, Observations
from eac_lightning.audit.table import SCORES, audit_record, read_audit, read_record, write_audit
from eac_lightning.data.annotations import Annotations
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.types import UNKNOWN_LABEL

CLASSES = ("anger", "happiness", "neutral")
SAMPLES = 24
WRONG = (2, 8, 11, 20)
COLUMNS = [
    "index", "path", "given", "suggested", "confidence", "p_given", "loss", "margin", "aum", "disagreements",
    "consistency", "agreement", "combined", "score", "suspect", "p_anger", "p_happiness", "p_neutral",
]  # fmt: skip


def clean_labels() -> Tensor:
    return torch.arange(SAMPLES) % 3


def given_labels() -> Tensor:
    given = clean_labels()
    given[list(WRONG)] = (given[list(WRONG)] + 1) % 3
    return given


def make_record(
    views: bool = True, epochs: int = 2, skip: int | None = None, given: Tensor | None = None
) -> AuditRecord:
    """A network that knows the clean labels, and is unsure of the views of a wrongly labelled face."""
    record, index = AuditRecord(3), torch.arange(SAMPLES)
    index = index[index != skip]
    given = given_labels() if given is None else given
    for epoch in range(epochs):
        seen = Observations(3)
        generator = torch.Generator().manual_seed(epoch)
        logits = torch.randn(SAMPLES, 3, generator=generator) + 5 * torch.eye(3)[clean_labels()]
        consistency = torch.where(given == clean_labels(), 0.9, 0.2) + torch.rand(SAMPLES, generator=generator) / 10
        view = (consistency[index], consistency[index] / 2) if views else ()
        seen.see(index, given[index], logits[index], *view)
        record.add(epoch, seen)
    return record


def annotations(clean: list[int] | None = None, votes: np.ndarray | None = None) -> Annotations:
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(SAMPLES)],
            "label": given_labels().numpy(),
            "clean_label": [UNKNOWN_LABEL] * SAMPLES if clean is None else clean,
            "split": "train",
            "subject": "",
            "group": "",
        }
    )
    return Annotations(table, CLASSES, "table", Path(), votes=votes)


def test_every_seen_sample_has_one_row_of_exactly_these_columns() -> None:
    audit = audit_record(make_record(skip=5), CLASSES, annotations())
    table = audit.table
    assert list(table) == COLUMNS
    assert table["index"].tolist() == [i for i in range(SAMPLES) if i != 5]
    assert table["path"].tolist() == [f"{i}.png" for i in table["index"]]
    assert table["given"].tolist() == [CLASSES[k] for k in given_labels()[table["index"].tolist()]]
    assert audit.settings == {"score": "combined", "epochs": [0, 1]}


def test_figures_are_means_over_epochs_or_of_the_last() -> None:
    table = audit_record(make_record(), CLASSES, None).table
    given = given_labels()
    logits = [
        torch.randn(SAMPLES, 3, generator=torch.Generator().manual_seed(epoch)) + 5 * torch.eye(3)[clean_labels()]
        for epoch in range(2)
    ]
    for i, row in table.iterrows():
        k = int(given[i])
        probability = sum(part[i].softmax(0) for part in logits) / 2
        margins = [float(part[i, k] - max(part[i, j] for j in range(3) if j != k)) for part in logits]
        assert row["p_given"] == pytest.approx(float(probability[k]), rel=1e-5)
        assert [row[f"p_{name}"] for name in CLASSES] == pytest.approx(probability.tolist(), rel=1e-5)
        assert row["loss"] == pytest.approx(-float(logits[1][i].log_softmax(0)[k]), rel=1e-5)
        assert row["margin"] == pytest.approx(margins[1], rel=1e-5)
        assert row["aum"] == pytest.approx(sum(margins) / 2, rel=1e-5)
        assert row["disagreements"] == sum(int(part[i].argmax()) != k for part in logits) / 2
        assert row["score"] == pytest.approx(row["combined"], abs=1e-6)
        assert 0 <= row["combined"] <= 1
        assert row["confidence"] == row[f"p_{row['suggested']}"]
        if not row["suspect"]:
            assert row["suggested"] == row["given"]
    assert table["path"].eq("").all()


def test_the_file_keeps_names_and_types(tmp_path: Path) -> None:
    votes = np.arange(3 * SAMPLES, dtype=np.int32).reshape(SAMPLES, 3)
    audit = audit_record(make_record(skip=5), CLASSES, annotations(clean_labels().tolist(), votes))
    write_audit(tmp_path / "run", audit)
    table = read_audit(tmp_path / "run")
    assert list(table) == [*COLUMNS, "clean", "votes_anger", "votes_happiness", "votes_neutral"]
    assert table["index"].dtype == np.int64
    assert table["suspect"].dtype == bool
    assert table["score"].dtype == np.float64
    assert set(table.loc[:, "p_given":"combined"].dtypes) == {np.dtype(np.float32)}  # type: ignore[misc]
    assert set(table.loc[:, "p_anger":"p_neutral"].dtypes) == {np.dtype(np.float32)}  # type: ignore[misc]
    for name in ("path", "given", "suggested", "clean"):
        assert all(type(value) is str for value in table[name]), name
    assert list(table["given"].cat.categories) == list(CLASSES)
    for name in table:
        assert table[name].tolist() == audit.table[name].tolist(), name
    row = table[table["index"] == 7].iloc[0]
    assert [row["votes_anger"], row["votes_happiness"], row["votes_neutral"]] == [21, 22, 23]
    assert json.loads((tmp_path / "run" / "audit.json").read_text()) == audit.figures()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"audit.parquet", "audit.json"}


@pytest.mark.parametrize("score", SCORES)
def test_higher_is_more_suspect_whatever_ranks(score: str) -> None:
    audit = audit_record(make_record(), CLASSES, None, score)
    ranked = audit.table["score"].to_numpy()
    right = [i for i in range(SAMPLES) if i not in WRONG]
    assert ranked[list(WRONG)].min() > ranked[right].max()
    assert tuple(np.flatnonzero(audit.table["suspect"])) == WRONG
    assert audit.rate.rate == pytest.approx(len(WRONG) / SAMPLES)
    assert audit.settings["score"] == score
    suggested = audit.table["suggested"].tolist()
    assert suggested == [CLASSES[k] for k in clean_labels()]


def test_suspects_are_the_estimated_share_with_the_highest_scores() -> None:
    given = torch.arange(SAMPLES) // 2 % 3  # a third of them right
    audit = audit_record(make_record(given=given), CLASSES, None, "margin")
    count = round(audit.rate.rate * SAMPLES)
    worst = sorted(range(SAMPLES), key=lambda i: -audit.table["score"][i])[:count]
    assert 0 < count < SAMPLES
    assert sorted(worst) == np.flatnonzero(audit.table["suspect"]).tolist()


def test_the_rate_is_that_of_the_last_epoch_alone() -> None:
    given, clean = given_labels(), clean_labels()
    rates = []
    for order in ((given, clean), (clean, given)):  # by heart first or last
        record = AuditRecord(3)
        for epoch, known in enumerate(order):
            seen = Observations(3)
            seen.see(torch.arange(SAMPLES), given, 5 * torch.eye(3)[known] + torch.rand(SAMPLES, 3))
            record.add(epoch, seen)
        rates.append(audit_record(record, CLASSES, None).rate.rate)
    assert rates == [pytest.approx(len(WRONG) / SAMPLES), 0]


def test_an_unknown_score_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="Unknown score 'margn'.*Did you mean 'margin'"):
        audit_record(make_record(), CLASSES, None, "margn")


@pytest.mark.parametrize("score", ["consistency", "agreement"])
def test_a_score_of_views_needs_views(score: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{score}' is not known of 24 of 24 .* not ask about mirrored"):
        audit_record(make_record(views=False), CLASSES, None, score)


def test_without_views_the_figures_of_views_are_missing(tmp_path: Path) -> None:
    write_audit(tmp_path, audit_record(make_record(views=False), CLASSES, None))
    assert read_audit(tmp_path)[["consistency", "agreement"]].isna().all(axis=None)


def test_each_class_counts_its_labels_and_suspects() -> None:
    audit = audit_record(make_record(), CLASSES, None)
    for k, name in enumerate(CLASSES):
        row = audit.per_class.loc[name]
        suspects = sum(int(given_labels()[i]) == k for i in WRONG)
        samples = int((given_labels() == k).sum())
        assert (row["samples"], row["suspects"]) == (samples, suspects)
        assert row["rate"] == pytest.approx(suspects / samples)


def test_a_class_without_a_sample_makes_no_nan_in_the_figures() -> None:
    given = given_labels().where(given_labels() != 2, 0)
    figures = audit_record(make_record(given=given), CLASSES, None).figures()
    again = json.loads(json.dumps(figures, allow_nan=False))
    assert again == figures
    assert again["per_class"]["neutral"] == {"samples": 0, "suspects": 0, "rate": None}
    assert again["samples"] == SAMPLES
    assert again["class_names"] == list(CLASSES)
    assert again["suspects"] == sum(row["suspects"] for row in again["per_class"].values())
    np.testing.assert_allclose(np.sum(again["transition_matrix"], axis=1), 1)
    rate = again["noise_rate"]
    assert rate["low"] <= rate["estimate"] <= rate["high"]
    assert rate["level"] == 0.95


def test_where_clean_labels_are_known_the_figures_say_how_well_they_were_found() -> None:
    audit = audit_record(make_record(), CLASSES, annotations(clean_labels().tolist()))
    assert audit.table["clean"].tolist() == [CLASSES[k] for k in clean_labels()]
    assert audit.figures()["known"] == {
        "noise_rate": pytest.approx(len(WRONG) / SAMPLES),
        "auroc": 1, "average_precision": 1, "fpr95": 0, "precision": 1, "recall": 1,
    }  # fmt: skip
    json.dumps(audit.figures(), allow_nan=False)


def test_unknown_clean_labels_count_neither_as_right_nor_as_wrong() -> None:
    clean = clean_labels().tolist()
    for i in (*WRONG[:2], 0, 1):
        clean[i] = UNKNOWN_LABEL
    audit = audit_record(make_record(), CLASSES, annotations(clean))
    assert audit.table["clean"].tolist()[:3] == ["", "", ""]
    known = audit.figures()["known"]
    assert known["noise_rate"] == pytest.approx(2 / 20)
    assert (known["auroc"], known["recall"], known["precision"]) == (1, 1, 1)


@pytest.mark.parametrize(("shift", "rate"), [(0, 0.0), (1, 1.0)])
def test_where_all_labels_are_right_or_all_wrong_only_their_share_is_told(shift: int, rate: float) -> None:
    clean = ((given_labels() + shift) % 3).tolist()
    figures = audit_record(make_record(), CLASSES, annotations(clean)).figures()
    assert figures["known"] == {"noise_rate": rate}


def test_where_no_clean_label_is_known_nothing_is_told_of_them() -> None:
    audit = audit_record(make_record(), CLASSES, annotations())
    assert audit.wrong is None
    assert "clean" not in audit.table
    assert "known" not in audit.figures()


@pytest.mark.parametrize("rows", [SAMPLES, SAMPLES - 2])
def test_answers_about_other_labels_than_those_of_now_are_refused(rows: int) -> None:
    now = annotations()
    now.table.loc[[0, 3], "label"] = 2
    now = replace(now, table=now.table.iloc[:rows])
    with pytest.raises(DataError, match=f"{2 + SAMPLES - rows} of the 24 labels .* --again"):
        audit_record(make_record(), CLASSES, now)


def test_a_class_may_be_called_like_a_column(tmp_path: Path) -> None:
    names = ("given", "clean", "index")
    plain = audit_record(make_record(), CLASSES, None).table
    write_audit(tmp_path, audit_record(make_record(), names, annotations(clean_labels().tolist())))
    table = read_audit(tmp_path)
    assert table.columns.is_unique
    np.testing.assert_allclose(table["p_given"], plain["p_given"])
    np.testing.assert_allclose(table["p_clean"], plain["p_happiness"])
    assert table["given"].tolist() == [names[CLASSES.index(name)] for name in plain["given"]]


def test_an_audit_that_saw_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="has seen no sample"):
        read_record(AuditRecord(3))


def test_an_audit_of_one_sample_is_refused() -> None:
    record, seen = AuditRecord(3), Observations(3)
    seen.see(torch.tensor([4]), torch.tensor([0]), torch.zeros(1, 3))
    record.add(0, seen)
    with pytest.raises(DataError, match="at least two samples, but got 1"):
        audit_record(record, CLASSES, None)


@pytest.mark.parametrize("content", [None, b"", b"no table"])
def test_what_is_no_audit_is_said(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "audit.parquet").write_bytes(content)
    with pytest.raises(DataError, match="Cannot read an audit from .*audit.parquet.* Run `eac audit` first"):
        read_audit(tmp_path)

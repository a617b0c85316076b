"""The result of an audit: a row a training sample, and what the whole says of the labels."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from eac_lightning._files import replacing
from eac_lightning.audit.record import AuditRecord
from eac_lightning.data.annotations import Annotations
from eac_lightning.errors import ConfigurationError, DataError, unknown_name
from eac_lightning.labels.estimate import (
    LEVEL,
    NoiseRate,
    estimate_noise_rate,
    suggest,
    transition_matrix,
    wrong_probability,
)
from eac_lightning.metrics.detection import detection_figures
from eac_lightning.types import UNKNOWN_LABEL

Floats = NDArray[np.float64]

TABLE, FIGURES = "audit.parquet", "audit.json"
SCORES = ("p_given", "loss", "margin", "aum", "disagreements", "consistency", "agreement", "combined")
"""What may rank the labels; each is turned so that higher is more suspect."""
_LOW_IS_SUSPECT = ("margin", "aum", "consistency", "agreement")
NEED_MIRROR = ("consistency", "agreement")
"""Those of them that are known only where mirrored faces were asked about."""


@dataclass(frozen=True)
class Audit:
    """What an audit says.

    Attributes:
        table: One row a sample, by index. ``index``, ``path`` ("" where unknown), ``given`` and ``suggested`` (class
            names), ``confidence`` (the network's probability of the suggestion), ``p_given``, ``loss``, ``margin``,
            ``aum``, ``disagreements`` (share of the audited epochs that predicted another label), ``consistency``,
            ``agreement``, ``combined`` (see ``wrong_probability``), ``score`` (higher is more suspect), ``suspect``,
            ``p_<class>``, and where known ``clean`` ("" where not) and ``votes_<class>``. Probabilities are means over
            the audited epochs, ``aum`` is the mean margin, ``loss`` and ``margin`` are of the last epoch.
        class_names: The K classes.
        rate: The estimated share of wrong labels.
        transition: (K, K) estimate of P(given = j | clean = i).
        settings: How it came about.
    """

    table: pd.DataFrame
    class_names: tuple[str, ...]
    rate: NoiseRate
    transition: Floats
    settings: dict[str, Any]

    @property
    def per_class(self) -> pd.DataFrame:
        """Return a row a class, by given label: ``samples``, ``suspects`` among them, and their share, ``rate``."""
        suspect = self.table.groupby("given", observed=False)["suspect"]
        columns = {"samples": suspect.size(), "suspects": suspect.sum(), "rate": suspect.mean()}
        return pd.DataFrame(columns).reindex(list(self.class_names))

    @property
    def wrong(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
        """Return which labels are wrong (N,), and of which that is known (N,); None where it is of none."""
        if "clean" not in self.table:
            return None
        clean = self.table["clean"].to_numpy()
        return clean != self.table["given"].astype(object).to_numpy(), clean != ""

    def figures(self) -> dict[str, Any]:
        """Return what ``audit.json`` holds: numbers, names and lists of them."""
        per_class = self.per_class.astype(object)
        figures: dict[str, Any] = {
            "samples": len(self.table),
            "suspects": int(self.table["suspect"].sum()),
            "noise_rate": {"estimate": self.rate.rate, "low": self.rate.low, "high": self.rate.high, "level": LEVEL},
            "transition_matrix": self.transition.tolist(),
            "class_names": list(self.class_names),
            "per_class": per_class.where(per_class.notna(), None).to_dict("index"),
            "settings": self.settings,
        }
        known = self._known_figures()
        return {**figures, "known": known} if known else figures

    def _known_figures(self) -> dict[str, float]:
        """Return how well the wrong labels were found, where it is known which are wrong."""
        if self.wrong is None:
            return {}
        wrong, known = (torch.from_numpy(column) for column in self.wrong)
        rate = float(wrong[known].double().mean())
        if rate in (0.0, 1.0):
            return {"noise_rate": rate}
        score, suspect = (torch.from_numpy(self.table[name].to_numpy().copy())[known] for name in ("score", "suspect"))
        return {"noise_rate": rate, **detection_figures(score, wrong[known], suspect)}


def audit_record(
    record: AuditRecord, class_names: tuple[str, ...], annotations: Annotations | None, score: str = "combined"
) -> Audit:
    """Turn a record into an audit.

    Args:
        record: Sums over the audited epochs.
        class_names: The K classes.
        annotations: Where paths, clean labels and votes stand, if anywhere.
        score: What ranks the labels, one of ``SCORES``.

    Raises:
        ConfigurationError: If there is no such score, or this record does not know it.
        DataError: If fewer than two samples were audited.
    """
    if score not in SCORES:
        raise unknown_name("score", score, SCORES)
    evidence, probabilities = read_record(record)
    given = evidence["given"].to_numpy()
    ranked = suspicion(evidence, score)
    # The last network alone: the mean over epochs ranks better, but is of networks that had not learnt yet.
    rate = estimate_noise_rate(_last_probabilities(record), given)
    suspect = np.zeros(len(given), dtype=bool)
    suspect[np.argsort(-ranked, kind="stable")[: round(rate.rate * len(given))]] = True
    table = make_table(evidence, probabilities, ranked, suspect, class_names, annotations)
    transition = transition_matrix(given, suspect, probabilities)
    return Audit(table, class_names, rate, transition, {"score": score, "epochs": list(record.epochs)})


def read_record(record: AuditRecord) -> tuple[pd.DataFrame, Floats]:
    """Return what a record knows: a row a sample, with ``index``, ``given`` and evidence; and (N, K) probabilities.

    Raises:
        DataError: If nothing was audited.
    """
    index = np.flatnonzero(record.columns["count"].numpy())
    if not len(index):
        raise DataError("The audit has seen no sample, so it says nothing. Audit at least one epoch.")
    columns = {name: column.numpy()[index] for name, column in record.columns.items()}
    count, given = columns["count"], columns["given"].astype(np.int64)
    probabilities = columns["probability_sum"] / count[:, None].astype(np.float32)
    evidence = pd.DataFrame(
        {
            "index": index,
            "given": given,
            "p_given": probabilities[np.arange(len(given)), given],
            "loss": columns["loss"],
            "margin": columns["margin"],
            "aum": columns["margin_sum"] / count,
            "disagreements": columns["disagreements"] / count,
            "consistency": columns["consistency"],
            "agreement": columns["agreement"],
            "combined": wrong_probability(probabilities, given),
        }
    )
    return evidence, probabilities


def _last_probabilities(record: AuditRecord) -> Floats:
    log_probability = record.columns["log_probability"][record.columns["count"] > 0]
    return log_probability.double().exp().numpy()


def suspicion(evidence: pd.DataFrame, score: str) -> Floats:
    """Return the (N,) values of a score, turned so that higher is more suspect.

    Raises:
        ConfigurationError: If it is not known of every sample.
    """
    values = evidence[score].to_numpy(dtype=np.float64)
    if np.isnan(values).any():
        raise ConfigurationError(
            f"The score {score!r} is not known of {int(np.isnan(values).sum())} of {len(values)} samples, because this "
            "audit did not ask about mirrored faces. Rank by another, such as p_given."
        )
    if score == "p_given":
        return np.asarray(1 - values)
    return np.asarray(-values if score in _LOW_IS_SUSPECT else values)


def make_table(
    evidence: pd.DataFrame,
    probabilities: Floats,
    score: Floats,
    suspect: NDArray[np.bool_],
    class_names: tuple[str, ...],
    annotations: Annotations | None,
) -> pd.DataFrame:
    """Return the rows of ``audit.parquet``, see :class:`Audit`."""
    rows, given = evidence["index"].to_numpy(), evidence["given"].to_numpy()
    if annotations is not None:
        _check_labels(annotations, rows, given)
    suggested, confidence = suggest(probabilities, given, suspect)
    return pd.DataFrame(
        {
            "index": rows,
            "path": "" if annotations is None else annotations.table["path"].to_numpy()[rows],
            "given": _named(given, class_names),
            "suggested": _named(suggested, class_names),
            "confidence": confidence,
            **evidence.drop(columns=["index", "given"]).astype(np.float32),
            "score": score,
            "suspect": suspect,
            # A class called "given" goes without: p_given is taken.
            **{
                f"p_{name}": probabilities[:, k].astype(np.float32)
                for k, name in enumerate(class_names)
                if name != "given"
            },
            **_known(annotations, rows, class_names),
        }
    )


def _check_labels(annotations: Annotations, rows: NDArray[np.int64], given: NDArray[np.int64]) -> None:
    """Refuse answers about labels that the data no longer have: paths and suggestions would be of other faces."""
    now = annotations.table["label"].reindex(rows, fill_value=UNKNOWN_LABEL).to_numpy()
    differing = int((now != given).sum())
    if differing:
        raise DataError(
            f"{differing} of the {len(given)} labels that the network was asked about are not those that the data in "
            f"{annotations.root} have now. Were they corrected since? Train on them anew, or ask again about those of "
            "now: eac audit --again."
        )


def _named(labels: NDArray[np.int64], class_names: tuple[str, ...]) -> pd.Series:
    return (
        pd.Series(labels).astype(pd.CategoricalDtype(list(range(len(class_names))))).cat.rename_categories(class_names)
    )


def _known(annotations: Annotations | None, rows: NDArray[np.int64], class_names: tuple[str, ...]) -> dict[str, Any]:
    """Return the columns ``clean`` and ``votes_<class>``, where something is known of them."""
    known: dict[str, Any] = {}
    if annotations is None:
        return known
    clean = annotations.table["clean_label"].to_numpy()[rows]
    if (clean != UNKNOWN_LABEL).any():
        # The appended "" is what an unknown label, -1, looks up.
        known["clean"] = np.asarray([*class_names, ""], dtype=object)[clean]
    if annotations.votes is not None:
        known |= {f"votes_{name}": annotations.votes[rows, k] for k, name in enumerate(class_names)}
    return known


def write_audit(folder: Path, audit: Audit) -> None:
    """Write ``audit.parquet`` and ``audit.json``, each whole or not at all."""
    with replacing(folder / TABLE) as partial:
        audit.table.to_parquet(partial, index=False)
    with replacing(folder / FIGURES) as partial:
        partial.write_text(json.dumps(audit.figures(), indent=2) + "\n")


def read_audit(folder: Path) -> pd.DataFrame:
    """Return the rows that ``write_audit`` wrote.

    Raises:
        DataError: If there are none.
    """
    try:
        return pd.read_parquet(folder / TABLE)
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read an audit from {folder / TABLE}: {error}. Run `eac audit` first.") from error

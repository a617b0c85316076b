"""Several people's votes for each face: a distribution to train on, and how far they agree."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Votes = NDArray[np.int32]


def soft_labels(votes: Votes, labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the distribution of each face's votes where its label is among the most voted.

    Elsewhere the label stands for certain: votes that contradict a label, which may be wrong on purpose, would
    give the truth away.

    Args:
        votes: (N, K) counts.
        labels: (N,) labels in [0, K).

    Returns:
        (N, K), rows summing to 1.
    """
    chosen = among_most_voted(votes, labels)
    certain = np.eye(votes.shape[1], dtype=np.float32)[labels]
    counts = np.where(chosen[:, None], votes, certain).astype(np.float32)
    return np.asarray(counts / counts.sum(1, keepdims=True))


def among_most_voted(votes: Votes, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return (N,) whether no class has more of a face's votes (N, K) than its label (N,), which has some."""
    own = votes[np.arange(len(votes)), labels]
    return np.asarray((own == votes.max(1)) & (own > 0))


def rater_agreement(votes: Votes, class_names: Sequence[str]) -> pd.DataFrame:
    """Say how far raters agree on the faces that have at least two votes.

    Kappa is that of Fleiss (1971): for category j, 1 − mean_i[n_ij (n_i − n_ij) / (n_i (n_i − 1))] / (p_j (1 − p_j)),
    where n_ij of the n_i votes for face i are for j and p_j is the mean of n_ij / n_i; over all categories,
    numerators and denominators are summed. It is 1 where raters always agree and 0 where chance would do as well.

    Args:
        votes: (N, K) counts; faces may have different numbers of votes.
        class_names: The K classes.

    Returns:
        A row for each class, in their order, and a last one for all: ``faces`` (those whose first most voted class
        it is), ``share`` (mean share in [0, 1] of the votes for the most voted class), ``unanimous`` (share of the
        faces all of whose votes are for one class) and ``kappa``; NaN where nothing can be said.
    """
    votes = votes[votes.sum(1) > 1].astype(np.int64)
    raters = votes.sum(1, keepdims=True)
    share = votes.max(1) / raters[:, 0]
    of_class = votes.argmax(1)[:, None] == np.arange(len(class_names))
    groups = np.column_stack([of_class, np.ones(len(votes), dtype=np.int64)])
    faces = groups.sum(0)
    counted = np.where(faces > 0, faces, np.nan)
    apart = (votes * (raters - votes) / (raters * (raters - 1))).sum(0)
    named = (votes / raters).sum(0) / max(len(votes), 1)
    by_chance = named * (1 - named) * len(votes)
    apart, by_chance = np.append(apart, apart.sum()), np.append(by_chance, by_chance.sum())
    return pd.DataFrame(
        {
            "faces": faces,
            "share": share @ groups / counted,
            "unanimous": (share == 1) @ groups / counted,
            "kappa": 1 - apart / np.where(by_chance > 0, by_chance, np.nan),
        },
        index=[*class_names, "all"],
    )


def describe_agreement(votes: Votes, class_names: Sequence[str]) -> str:
    """Return one sentence with the figures of :func:`rater_agreement`; "" where no face has two votes."""
    table = rater_agreement(votes, class_names)
    whole = table.iloc[-1]
    if not whole["faces"]:
        return ""
    kappas = ", ".join(f"{name} {kappa:.2f}" for name, kappa in table["kappa"].iloc[:-1].dropna().items())
    return (
        f"On the {whole['faces']:.0f} faces with several votes, the winning class has {whole['share']:.1%} of them on "
        f"average, and raters are unanimous on {whole['unanimous']:.1%}"
        + (f"; Fleiss' kappa is {whole['kappa']:.2f} ({kappas})." if kappas else ".")
    )

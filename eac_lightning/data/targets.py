"""What training aims at: the given label, or the distribution of several people's votes."""

from eac_lightning.data.annotations import Annotations
from eac_lightning.errors import ConfigurationError
from eac_lightning.labels.votes import among_most_voted
from eac_lightning.types import UNKNOWN_LABEL

TARGETS = ("hard", "soft")


def check_soft_target(annotations: Annotations) -> None:
    """Refuse to train on votes that are not there, or that judge the given labels.

    Args:
        annotations: As read, before corrections and noise.

    Raises:
        ConfigurationError: If nobody voted, or the data's own clean labels come from the votes.
    """
    votes, table = annotations.votes, annotations.table
    if votes is None:
        raise ConfigurationError(
            f"Expected raters' votes to train on (target='soft'), but the data in {annotations.root} bring none. FER+ "
            "does (layout ferplus), or a table with a column votes_<class> for each class; else say target='hard'."
        )
    label, clean = table["label"].to_numpy(), table["clean_label"].to_numpy()
    judged = (clean != UNKNOWN_LABEL) & (clean != label) & among_most_voted(votes, clean)
    if judged.any():
        raise ConfigurationError(
            f"target='soft' trains on raters' votes, but on {judged.sum()} faces in {annotations.root} the votes say "
            "the clean label and not the given one, so that training would be told the truth. Say target='hard'."
        )


def describe_soft_target(annotations: Annotations) -> str:
    """Return a note on what training aims at after corrections and noise."""
    train = (annotations.table["split"] == "train").to_numpy()
    label = annotations.table["label"].to_numpy()[train]
    against = 0 if annotations.votes is None else (~among_most_voted(annotations.votes[train], label)).sum()
    return (
        f"Training aims at the distribution of the votes; on {against} of {train.sum()} faces, whose label they do not "
        "choose, at the label alone."
    )

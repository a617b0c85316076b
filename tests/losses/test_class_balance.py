"""Weights that follow from class counts, and what counts and weights cannot be."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.class_balance import balanced_weights, check_class_numbers, class_weight_tensor


def test_balanced_weights_are_those_of_the_rule_and_weigh_a_face_one_on_the_average() -> None:
    counts = [60, 30, 10]
    weights = balanced_weights(counts)
    torch.testing.assert_close(weights, torch.tensor([100 / 180, 100 / 90, 100 / 30]))
    weighed = [weight * count for weight, count in zip(weights.tolist(), counts, strict=True)]
    assert weighed == pytest.approx([100 / 3] * 3)


def test_weights_are_a_list_a_name_or_none() -> None:
    assert class_weight_tensor(None, [1, 2]) is None
    torch.testing.assert_close(class_weight_tensor([1, 0, 2.5]), torch.tensor([1.0, 0.0, 2.5]))
    torch.testing.assert_close(class_weight_tensor("balanced", [1, 3]), torch.tensor([2.0, 2 / 3]))
    with pytest.raises(ConfigurationError, match="Unknown class_weights 'balance'. Did you mean 'balanced'"):
        class_weight_tensor("balance", [1, 3])
    with pytest.raises(ConfigurationError, match="give class_counts"):
        class_weight_tensor("balanced")


@pytest.mark.parametrize(
    ("option", "values", "message"),
    [
        ("class_counts", [3, 4], r"class_counts to be 3 numbers, one for each class \(a, b, c\), but got \[3, 4\]"),
        ("class_weights", "abc", "class_weights to be 3 numbers"),
        ("class_weights", {"a": 1.0}, "class_weights to be 3 numbers"),
        ("class_weights", torch.ones(3), r"class_weights to be 3 numbers, .* but got tensor\(\[1., 1., 1.\]\)"),
        ("class_counts", np.array([1, 2, 3]), r"class_counts to be 3 numbers, .* but got array\(\[1, 2, 3\]\)"),
        ("class_weights", [1.0, "2", 3.0], "class_weights to be 3 numbers"),
        ("class_weights", [1.0, True, 3.0], "class_weights to be 3 numbers"),
        ("class_weights", [1.0, -1.0, 3.0], "at least 0, some above and none endless"),
        ("class_weights", [1.0, math.nan, 3.0], "at least 0, some above and none endless"),
        ("class_weights", [1.0, math.inf, 3.0], "at least 0, some above and none endless"),
        ("class_weights", [0, 0, 0], "at least 0, some above and none endless"),
        ("class_counts", [3, 0, 0], r"none labelled b, c \(class_counts \[3, 0, 0\]\). Add some, leave"),
    ],
)
def test_what_is_not_one_possible_number_a_class_is_refused(option: str, values: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_class_numbers(option, values, ("a", "b", "c"))


def test_without_names_classes_are_numbered() -> None:
    check_class_numbers("class_weights", [0.0, 2.0])
    with pytest.raises(ConfigurationError, match="none labelled 1 "):
        balanced_weights([3, 0])
    with pytest.raises(ConfigurationError, match=r"class_weights to be one number for each class, but got \[\]"):
        check_class_numbers("class_weights", [])

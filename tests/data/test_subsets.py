from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eac_lightning import FERDataModule
from eac_lightning.data.subsets import class_subset, stratified_subset
from eac_lightning.errors import ConfigurationError


@given(st.lists(st.integers(0, 3), min_size=4, max_size=60), st.integers(4, 70), st.integers(0, 3))
def test_a_subset_is_stratified_and_nested(labels: list[int], count: int, seed: int) -> None:
    array = np.array(labels)
    chosen = stratified_subset(array, count, seed)
    assert len(set(chosen)) == len(chosen) == min(count, len(labels))
    assert set(array[chosen]) == set(labels)
    share = len(chosen) / len(labels)
    for label in set(labels):
        assert abs((array[chosen] == label).sum() - share * labels.count(label)) <= len(set(labels))
    assert set(chosen) <= set(stratified_subset(array, count + 1, seed))


def test_a_subset_below_the_number_of_classes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"at least 3.* but is 2"):
        stratified_subset(np.arange(3), 2, 0)


def test_so_many_of_each_class(faces: Path) -> None:
    labels = np.array([0] * 5 + [1] * 2 + [2] * 9)
    few, more = class_subset(labels, 3, seed=0), class_subset(labels, 4, seed=0)
    assert np.bincount(labels[few]).tolist() == [3, 2, 3]
    assert set(few) < set(more)
    assert not np.array_equal(few, class_subset(labels, 3, seed=1))
    data = FERDataModule(faces, image_size=16, per_class=2)
    assert np.bincount(data.dataset("train").labels).tolist() == [2, 2, 2]
    assert len(data.dataset("val")) == 12
    assert "train: 6 (of 24)" in data.summary()
    with pytest.raises(ConfigurationError, match="per_class must be at least 1"):
        FERDataModule(faces, per_class=0)

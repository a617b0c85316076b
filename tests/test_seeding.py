import pytest
import torch

from eac_lightning.seeding import default_seed, derive_seed, seeded


def test_the_default_is_the_seed_of_seed_everything_and_never_random(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_seed() == 0
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert default_seed() == 7


def test_derived_seeds_follow_from_their_parts_alone() -> None:
    assert derive_seed(0, "noise") == derive_seed(0, "noise") == 3_036_726_077_145_644_715
    assert len({derive_seed(seed, name, step) for seed in range(4) for name in "ab" for step in range(50)}) == 400
    assert derive_seed(1, 23) != derive_seed(12, 3)
    assert 0 <= derive_seed("x") < 2**63


def test_a_seeded_block_draws_the_same_and_leaves_no_trace() -> None:
    before = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with seeded(5, torch.device("cpu")):
            draws.append(torch.rand(3))
    assert torch.equal(*draws)
    with pytest.raises(IndexError), seeded(5):
        torch.rand(1)[5]
    assert torch.equal(before, torch.get_rng_state())

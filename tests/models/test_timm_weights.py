"""Weights of timm's networks: from files of another size, from the hub's cache, and where there is no network."""

import logging
import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed, resample_patch_embed, resize_rel_pos_bias_table
from torch import Tensor

from eac_lightning.errors import CheckpointError, ConfigurationError
from eac_lightning.models import timm_backbone, timm_weights
from eac_lightning.models.backbones import create_backbone

NAME = "vit_tiny_patch16_224"
ID = f"timm/{NAME}.augreg_in21k_ft_in1k"
SMALL: dict[str, Any] = {"patch_size": 8, "depth": 1}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was warned of; other tests may have turned on what is merely told."""
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def published(name: str = NAME, **options: Any) -> dict[str, Tensor]:
    """Weights as timm gives them out: of 224 px, with a classifier of 1,000 classes."""
    torch.manual_seed(0)
    return timm.create_model(name, **options).state_dict()


def check_resampled(backbone: Any, state: dict[str, Tensor]) -> None:
    network = backbone.network
    torch.testing.assert_close(network.pos_embed, resample_abs_pos_embed(state["pos_embed"], [6, 6]))
    torch.testing.assert_close(
        network.patch_embed.proj.weight, resample_patch_embed(state["patch_embed.proj.weight"], [8, 8])
    )
    for name in ("cls_token", "blocks.0.attn.qkv.weight", "norm.bias"):
        assert torch.equal(network.state_dict()[name], state[name])


@pytest.mark.parametrize("file", ["weights.pth", "weights.safetensors", "wrapped.pth"])
def test_a_file_of_another_size_is_resampled_as_timm_does_it(
    file: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = published(depth=1)
    if file.endswith(".safetensors"):
        save_file(state, tmp_path / file)
    else:
        torch.save({"model": state} if file == "wrapped.pth" else state, tmp_path / file)
    backbone = create_backbone(f"timm/{NAME}", str(tmp_path / file), 48, SMALL)
    check_resampled(backbone, state)
    assert not warnings(caplog)  # the classifier of the file is nobody's loss


def test_what_a_file_lacks_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = published(depth=1)
    del state["pos_embed"]
    torch.save(state, tmp_path / "weights.pth")
    create_backbone(f"timm/{NAME}", str(tmp_path / "weights.pth"), 48, SMALL)
    assert "1 tensors missing from" in caplog.text
    assert "pos_embed" in caplog.text
    assert "head" not in caplog.text


def test_tables_of_relative_positions_are_resampled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name, options = "swin_tiny_patch4_window7_224", {"embed_dim": 24, "depths": [1, 1, 1, 1]}
    state = published(name, **options)
    save_file(state, tmp_path / "swin.safetensors")
    backbone: Any = create_backbone(f"timm/{name}", str(tmp_path / "swin.safetensors"), 64, options)
    key = "layers.2.blocks.0.attn.relative_position_bias_table"
    resampled = resize_rel_pos_bias_table(state[key], new_window_size=[4, 4], new_bias_shape=[49, 12])
    torch.testing.assert_close(backbone.network.state_dict()[key], resampled)
    assert not warnings(caplog)


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("coat_lite_tiny", {"serial_depths": [1, 1, 1, 1]}, 64),
        ("convnext_atto", {"depths": [1, 1, 1, 1]}, 64),
        ("deit_tiny_distilled_patch16_224", {"depth": 1}, 64),
        ("mobilenetv2_100", {}, 64),
        ("levit_128s", {}, 224),
    ],
)
def test_files_of_other_families_load_whole(
    name: str, options: dict[str, Any], size: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = published(name, **options)
    torch.save(state, tmp_path / "weights.pth")
    backbone: Any = create_backbone(f"timm/{name}", str(tmp_path / "weights.pth"), size, options)
    assert not warnings(caplog)
    for key, value in backbone.network.state_dict().items():
        assert key == "pos_embed" or torch.equal(value, state[key]), key


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (NAME, SMALL),
        ("convnext_atto", {"depths": [1, 1, 1, 1]}),
        ("swin_tiny_patch4_window7_224", {"embed_dim": 24, "depths": [1, 1, 1, 1]}),
    ],
)
def test_the_file_of_another_network_is_refused(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet18", num_classes=0).state_dict(), tmp_path / "resnet.pth")
    torch.save(
        {"layers.9.relative_position_bias_table": torch.zeros(9, 9), "a.weight": torch.zeros(2, 2)},
        tmp_path / "odd.pth",
    )
    for file in ("resnet.pth", "odd.pth"):
        with pytest.raises(CheckpointError, match=f"{file}.*Is this the file of another network"):
            create_backbone(f"timm/{name}", str(tmp_path / file), 64, options)


# ---- without a network ------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache in an empty folder, and no way to the hub."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.setattr(constants, name, str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_without_a_network_the_error_comes_at_once_and_says_what_to_do(cache: Path) -> None:
    begun = time.perf_counter()
    with pytest.raises(CheckpointError) as failure:
        create_backbone(f"timm/{NAME}", "pretrained", 48, SMALL)
    assert time.perf_counter() - begun < 5
    said = str(failure.value)
    assert f"timm/{NAME} begins from weights that have to be downloaded" in said
    assert f"https://huggingface.co/{ID}/resolve/main/model.safetensors" in said
    assert "--model.weights FILE" in said
    assert f"copy the folder models--{ID.replace('/', '--')}" in said
    assert str(cache) in said
    assert "HTTPS" not in said


def test_weights_in_the_cache_need_no_network_and_are_resampled(cache: Path) -> None:
    state = published(depth=1)
    folder = cache / f"models--{ID.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(state, folder / "snapshots" / ("0" * 40) / "model.safetensors")
    check_resampled(create_backbone(f"timm/{NAME}", "pretrained", 48, SMALL), state)


def test_the_hub_is_asked_once_and_not_for_long(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, float]] = []

    def ask(url: str, timeout: float) -> None:
        asked.append((url, timeout))
        raise TimeoutError("timed out")

    monkeypatch.setattr(timm_weights, "get_hf_file_metadata", ask)
    with pytest.raises(CheckpointError, match=r"failed \(TimeoutError: timed out\)"):
        create_backbone(f"timm/{NAME}", "augreg_in21k", 48, SMALL)
    (only,) = asked
    assert only[0].endswith(f"{NAME}.augreg_in21k/resolve/main/model.safetensors")
    assert only[1] <= 10


def test_where_the_hub_answers_timm_goes_on(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    def not_by_that_name(url: str, timeout: float) -> None:
        raise EntryNotFoundError("404")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("connection reset\nby peer")

    monkeypatch.setattr(timm_weights, "get_hf_file_metadata", not_by_that_name)
    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(CheckpointError, match=r"OSError: connection reset\)"):
        create_backbone(f"timm/{NAME}", "pretrained")


def test_weights_of_another_place_than_the_hub_say_theirs(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    source = timm.models.PretrainedCfg(url="https://example.org/weights.pth")
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda _: source)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(
        CheckpointError, match=r"no network.*get https://example.org/weights.pth.*put it into .*checkpoints"
    ):
        create_backbone(f"timm/{NAME}", "pretrained")


@pytest.mark.parametrize(("name", "weights"), [(NAME, "augreg_in22k"), (f"{NAME}.augreg_in22k", "pretrained")])
def test_weights_by_another_name_list_the_known_ones(name: str, weights: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Unknown weights of timm/{NAME}.*Did you mean 'augreg_in21k'"):
        create_backbone(f"timm/{name}", weights)


def test_a_network_without_published_weights_says_so() -> None:
    name = next(name for name in timm.list_models("vit_*") if not timm.list_pretrained(f"{name}*"))
    with pytest.raises(ConfigurationError, match=f"timm publishes no weights for {name}. Leave weights out"):
        create_backbone(f"timm/{name}", "pretrained")


def test_weights_that_do_not_fit_are_no_lack_of_a_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("size mismatch for attention_biases")

    monkeypatch.setattr(timm_backbone, "check_download", lambda _: None)
    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(ConfigurationError, match="timm could not build levit_128s: size mismatch for attention_biases"):
        create_backbone("timm/levit_128s", "pretrained", 64)

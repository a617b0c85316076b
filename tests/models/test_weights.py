import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from eac_lightning.errors import CheckpointError
from eac_lightning.models.mobilefacenet import MobileFaceNet
from eac_lightning.models.weights import load_weights, read_checkpoint

REAL = Path(__file__).parents[2].parent / "shared" / "weights" / "mobilefacenet_ms1m.pt"


def filled(value: float) -> nn.Module:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    for parameter in module.parameters():
        nn.init.constant_(parameter, value)
    return module


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model_state_dict": s, "epoch": 3}]
)
@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone."])
def test_state_dicts_load_however_they_are_wrapped(wrap: Any, prefix: str, tmp_path: Path) -> None:
    state = {prefix + key: value for key, value in filled(7).state_dict().items()}
    torch.save(wrap(state), tmp_path / "weights.pt")
    module = filled(0)
    load_weights(module, tmp_path / "weights.pt")
    assert all((parameter == 7).all() for parameter in module.parameters())


def test_safetensors_load(tmp_path: Path) -> None:
    save_file(filled(7).state_dict(), tmp_path / "weights.safetensors")
    module = filled(0)
    load_weights(module, tmp_path / "weights.safetensors")
    assert all((parameter == 7).all() for parameter in module.parameters())


def test_what_did_not_fit_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = filled(7).state_dict()
    del state["0.bias"]
    state["1.weight"] = torch.zeros(9)
    state["head.weight"] = torch.zeros(2)
    state["old.weight"] = torch.zeros(2)
    torch.save(state, tmp_path / "weights.pt")
    module = filled(0)
    module.unused_weights = ("old.",)  # type: ignore[assignment]
    with caplog.at_level(logging.INFO):
        load_weights(module, tmp_path / "weights.pt")
    assert "1 tensors missing from" in caplog.text
    assert "0.bias" in caplog.text
    assert "1 tensors of another shape in" in caplog.text
    assert "not used of" in caplog.text
    assert "head.weight" in caplog.text
    assert "old.weight" not in caplog.text
    assert (module[1].weight == 0).all()  # type: ignore[index]


def test_the_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.zeros(3), "1.num_batches_tracked": torch.tensor(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="Less than half of Sequential is in .*other.pt.*0.weight.*layer.weight"):
        load_weights(filled(0), tmp_path / "other.pt")


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("executed"),))


def test_nothing_is_ever_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Malicious()}, "evil.pt")
    with open("evil.pkl", "wb") as file:  # noqa: PTH123
        pickle.dump(Malicious(), file)
    for name in ("evil.pt", "evil.pkl"):
        with pytest.raises(CheckpointError, match="not a torch file that loads safely|asks for pathlib.Path.touch"):
            read_checkpoint(name)
    assert not Path("executed").exists()


def test_damaged_files_are_named(tmp_path: Path) -> None:
    torch.save(filled(1).state_dict(), tmp_path / "whole.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:400])
    torch.save(filled(1).state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for share in (0.3, 0.6, 0.95):
        part = (tmp_path / "old.pt").read_bytes()
        (tmp_path / f"old_{share}.pt").write_bytes(part[: int(share * len(part))])
    (tmp_path / "half.safetensors").write_bytes(b"abc")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, message in (
        ("half.pt", "could not be read|not a torch file"),
        ("old_0.3.pt", "could not be read|not a torch file"),
        ("old_0.6.pt", "could not be read|not a torch file"),
        ("old_0.95.pt", "could not be read|not a torch file"),
        ("half.safetensors", "could not be read"),
        ("list.pt", "hold a dict of tensors, but found a list"),
        ("none.pt", "there is no such file"),
    ):
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(tmp_path / name)


def test_mobilefacenet_has_the_shapes_of_the_published_file() -> None:
    state = MobileFaceNet().state_dict()
    assert len(state) == 294
    assert sum(value.numel() for value in MobileFaceNet().parameters()) == 907_904
    assert state["features.5.conv.0.0.weight"].shape == (256, 64, 1, 1)
    assert state["features.14.conv.3.running_var"].shape == (128,)
    assert state["conv2.0.weight"].shape == (512, 128, 1, 1)
    assert MobileFaceNet().eval().forward_features(torch.zeros(1, 3, 112, 112)).shape == (1, 512, 7, 7)


@pytest.mark.skipif(not REAL.is_file(), reason=f"needs the published MobileFaceNet weights at {REAL.name}")
def test_the_published_file_loads_whole(caplog: pytest.LogCaptureFixture) -> None:
    module = MobileFaceNet()
    with caplog.at_level(logging.INFO):
        load_weights(module, REAL)
    tensors = len(module.state_dict())
    assert f"{tensors} of {tensors} tensors" in caplog.text
    assert "missing" not in caplog.text
    assert "not used" not in caplog.text

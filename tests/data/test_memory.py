import os
from pathlib import Path

import pytest

from eac_lightning.data.memory import available_memory


def test_memory_is_shared_among_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    alone = available_memory()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert 0 < available_memory() < alone / 2


def test_memory_is_bounded_by_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {
        "meminfo": "MemTotal: 9 kB\nMemAvailable: 4 kB\n",
        "memory.max": "3000\n",
        "memory.current": "1000",
        "memory.stat": "anon 700\ninactive_file 300\n",
    }
    monkeypatch.setattr(Path, "read_text", lambda self: contents[self.name])
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert available_memory() == 2300
    contents["memory.max"] = "max"
    assert available_memory() == 4096


def test_memory_without_procfs(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(self: Path, *args: object) -> str:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", unreadable)
    assert available_memory() > 1e6
    monkeypatch.delattr(os, "sysconf")
    assert available_memory() == 0

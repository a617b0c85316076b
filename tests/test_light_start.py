"""What must answer at once imports nothing heavy; proven in fresh processes, by modules and not by the clock."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "pandas", "pytorch_lightning", "lightning", "timm", "kornia", "matplotlib")


@pytest.mark.parametrize(
    "code",
    [
        "import eac_lightning; dir(eac_lightning)",
        "from eac_lightning.cli import build_parser; build_parser().format_help()",
        "from eac_lightning.cli import main; main(['recipes'])",
        "from eac_lightning.cli import main; main(['recipes', 'quickstart'])",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    check = f"{code}\nimport sys\nprint('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip().endswith("HEAVY []"), done.stdout + done.stderr


def test_every_public_name_is_there() -> None:
    import eac_lightning

    for name in eac_lightning.__all__:
        assert getattr(eac_lightning, name).__name__ == name
    assert set(eac_lightning.__all__) == set(eac_lightning._WHERE)
    assert set(eac_lightning.__all__) <= set(dir(eac_lightning))
    with pytest.raises(AttributeError, match="no attribute 'EACModul'"):
        _ = eac_lightning.EACModul

"""How long FMix's masks take: the truncated spectrum beside a full FFT, each with the package's selection and a sort.

    OMP_NUM_THREADS=1 python benchmarks/fmix.py --json docs/results/fmix.json

All variants draw 64 masks of 224 px, one λ a mask; ``grey`` is the synthesis alone. The full FFT shapes the spectrum of
white noise in the same isotropic way.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measuring import machine, markdown, save, side_by_side
from torch import Tensor

from eac_lightning.data.fmix import brightest_by_sorting, fmix_masks, grey_images


def fft_amplitude(height: int, width: int, decay: float) -> Tensor:
    """Return the (H, W/2 + 1) amplitudes of the full spectrum, which need be made but once."""
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None])
    frequency[0, 0] = torch.inf
    return frequency.mul_(max(height, width)).pow_(-decay)


def fft_grey(count: int, amplitude: Tensor, width: int) -> Tensor:
    """Return (N, H, W) grey images by an inverse FFT of a drawn spectrum."""
    height, half = amplitude.shape
    drawn = torch.complex(*torch.randn(2, count, height, half, device=amplitude.device))
    return torch.fft.irfft2(drawn * amplitude, s=(height, width))


def variants(asked: argparse.Namespace) -> dict[str, Callable[[], Tensor]]:
    """Return by name what is timed."""
    count, height, width, decay = asked.masks, asked.size, asked.width or asked.size, asked.decay
    device = torch.device(asked.device)
    amplitude = fft_amplitude(height, width, decay).to(device)
    lam = torch.distributions.Beta(1.0, 1.0).sample((count,)).double()
    counts = (lam * height * width).round().long().to(device)
    return {
        "fmix_masks": lambda: fmix_masks(lam, height, width, decay, device=device),
        "truncated grey": lambda: grey_images(count, height, width, decay, device=device),
        "full FFT grey": lambda: fft_grey(count, amplitude, width),
        "full FFT, sorted": lambda: brightest_by_sorting(fft_grey(count, amplitude, width), counts),
    }


def several(draw: Callable[[], Tensor], calls: int) -> Callable[[], None]:
    """Return what draws masks so many times in a row."""

    def run() -> None:
        for _ in range(calls):
            draw()

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--width", type=int, help="default: as the height, --size")
    parser.add_argument("--decay", type=float, default=3.0)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--calls", type=int, default=5, help="in a row, of which a repeat is the mean")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: on a machine that others use")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.manual_seed(0)
    print(json.dumps(machine()))
    clock = time.process_time if asked.clock == "cpu" else time.perf_counter
    made = {name: several(draw, asked.calls) for name, draw in variants(asked).items()}
    found = side_by_side(made, asked.repeats, device=asked.device, clock=clock)
    seconds = {name: [each / asked.calls for each in repeats] for name, repeats in found.items()}
    rows = []
    for name, each in seconds.items():
        low, middle, high = 1e3 * np.quantile(each, [0, 0.5, 1])
        rows.append([name, f"{middle:.1f} ({low:.1f}–{high:.1f})"])
    what = f"{asked.masks} masks of {asked.size} × {asked.width or asked.size} px, decay {asked.decay:g}"
    print(f"\n{what}, {asked.repeats} repeats\n")
    print(markdown(["", "ms, median (range)"], rows))
    save(asked.json, what, {"seconds": seconds})


if __name__ == "__main__":
    main()

"""What an audit of a million samples adds to a process: while training goes on, and for the table at its end.

python benchmarks/audit_memory.py        # Linux: reads and resets the peak in /proc/self
"""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from eac_lightning.audit.record import AuditRecord, Observations
from eac_lightning.audit.table import audit_record

NAMES, BATCH = tuple("abcdefgh"), 512


def peak() -> float:
    """Return the largest memory since the last reset, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM"))


def reset() -> float:
    """Forget the peak; return what is taken now, in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def audit_twice(samples: int) -> AuditRecord:
    """Return the record of two epochs of made answers, a fifth of which contradict the label."""
    generator = torch.Generator().manual_seed(0)
    record = AuditRecord(len(NAMES))
    for epoch in range(2):
        seen = Observations(len(NAMES))
        for start in range(0, samples, BATCH):
            index = torch.arange(start, min(samples, start + BATCH))
            clean = (index + (torch.rand(len(index), generator=generator) < 0.2)) % len(NAMES)
            logits = torch.randn(len(index), len(NAMES), generator=generator) + 4 * F.one_hot(clean, len(NAMES))
            seen.see(index, index % len(NAMES), logits)
        record.add(epoch, seen)
        del seen
    return record


def main() -> None:
    """Measure it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    samples = parser.parse_args().samples
    audit_record(audit_twice(1000), NAMES, None)  # what libraries load when they are first used is not of the audit
    before = reset()
    record = audit_twice(samples)
    print(f"{samples} samples, two epochs: {peak() - before:.0f} MB at most")
    reset()
    began = time.perf_counter()
    audit_record(record, NAMES, None)
    print(f"the table: {peak() - before:.0f} MB at most, {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()

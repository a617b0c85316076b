"""Figures of a run, exact over batches and ranks."""

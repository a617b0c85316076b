"""What a run draws, counts and writes."""

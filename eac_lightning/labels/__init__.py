"""What may be wrong with a label."""

"""Class activation maps of a network, taken without disturbing it."""

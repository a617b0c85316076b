"""Backbones, and the classifier whose attention maps are exact."""

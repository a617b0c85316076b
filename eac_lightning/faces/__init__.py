"""Where a face crop comes from: a photograph, or a drawing with a known label."""

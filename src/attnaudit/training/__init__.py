"""Training: one loop, and the doors to it."""

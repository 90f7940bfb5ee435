"""Models that choose the units they read."""

"""Records, their sources and generators with known truth."""

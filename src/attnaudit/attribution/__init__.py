"""Attributions: one importance score per unit, one file a method."""

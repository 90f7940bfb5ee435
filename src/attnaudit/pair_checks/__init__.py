"""Checks of pairs: what is not yet in the one house."""

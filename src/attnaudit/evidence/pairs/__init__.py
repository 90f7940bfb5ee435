"""Pairs of texts with their tables, and what other methods say of them."""

"""Pairs of texts with scores."""

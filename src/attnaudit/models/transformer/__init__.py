"""Transformers of the package `transformers`, cut at a site of their attention."""

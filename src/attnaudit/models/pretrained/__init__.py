"""Attention above a pretrained encoder."""

"""Pretrained encoders, which stay as they are."""

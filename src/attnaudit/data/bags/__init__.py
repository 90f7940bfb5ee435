"""Bags of instances."""

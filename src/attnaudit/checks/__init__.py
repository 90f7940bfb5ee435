"""Checks: one question from one paper, one file each."""

"""Modules of other people, given the cut."""

"""Texts: cleaning, cutting into units, evidence."""

"""Measures: tensors in, tensors out; no model is known here."""

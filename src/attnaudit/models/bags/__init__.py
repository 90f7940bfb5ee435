"""Classifiers of bags that pool by attention."""

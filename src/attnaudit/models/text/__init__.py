"""Text classifiers that pool by attention."""

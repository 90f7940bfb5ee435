"""Evidence: what checks read."""

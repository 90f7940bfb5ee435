"""A batch, encoded once for all checks."""

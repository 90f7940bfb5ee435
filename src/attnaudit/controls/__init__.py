"""Controls: what is not yet in the one house."""

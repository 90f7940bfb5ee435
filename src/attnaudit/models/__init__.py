"""The cut, and the only rooms that know a model library."""

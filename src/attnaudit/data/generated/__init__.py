"""Generated data, whose evidence is known."""

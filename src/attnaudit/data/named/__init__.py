"""Named data sets, read as their papers read them."""

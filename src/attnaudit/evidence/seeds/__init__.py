"""One network trained from many seeds."""

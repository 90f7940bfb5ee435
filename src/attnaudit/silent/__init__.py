"""Silent failures: what is not yet in the one house."""

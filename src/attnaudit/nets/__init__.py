"""Networks we can train ourselves, and one training loop."""

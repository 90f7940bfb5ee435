"""Speed and parity against the published procedures, written plainly."""

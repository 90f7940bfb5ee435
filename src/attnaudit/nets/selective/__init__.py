"""Networks that choose the units they read."""

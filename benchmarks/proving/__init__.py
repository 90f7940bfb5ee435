"""Models whose right verdict is known by construction."""

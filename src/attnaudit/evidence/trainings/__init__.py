"""The same model trained again with one thing changed."""

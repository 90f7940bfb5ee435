"""`attnaudit demo`: the main job on built-in text."""

"""Shortcut checks."""

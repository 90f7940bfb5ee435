"""Where data comes from: files, frames, folders, the hub."""

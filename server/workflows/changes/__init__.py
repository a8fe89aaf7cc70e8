"""The change feed of the archive."""

"""Terminology that users bring: imported, listed and removed from the command line."""

"""Deletion of studies, series and instances: rows, tombstones, legal holds (DESIGN §5, Deletion)."""

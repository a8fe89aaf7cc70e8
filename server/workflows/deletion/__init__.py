"""Deletion of studies on both doors, legal holds and retention (DESIGN §5, Deletion; docs/decisions/0017)."""

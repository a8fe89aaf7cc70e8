"""Versions of models under control: stages, gates, traffic, shadow runs, rollback."""

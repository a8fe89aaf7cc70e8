"""Backup and restore: one format for both databases, incremental, while serving (decision 0015)."""

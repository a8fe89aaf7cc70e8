"""Runners: the processes that model code runs in."""

"""Workitems that clients create, update and perform (PS3.18 §11.4, §11.6, §11.7)."""

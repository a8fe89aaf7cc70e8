"""Releases of code systems as their publishers distribute them become drafts (`releases.draft`)."""

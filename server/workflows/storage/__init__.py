"""Upkeep of stored objects: packing, removal, the sweep for orphans, the scrub."""

"""Store transaction (STOW-RS), PS3.18 10.5: from bytes to indexed instances."""

"""What this server can do, told by itself (PS3.18 §8.9)."""

"""What studies and series show otherwise than they were sent: corrections and merges (DESIGN §5)."""

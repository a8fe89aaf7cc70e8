"""What patients deny, as rows and as a predicate of every statement that reads (decision 0034)."""

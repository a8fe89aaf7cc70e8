"""What goes by itself once it is old enough: studies by rules; events, tokens and audit entries."""

"""What users allowed clients: grants, and the codes and refresh tokens that stand and fall with them."""

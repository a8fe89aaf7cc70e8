"""What administrators do with users, clients and keys: by `/admin/api` and by commands."""

"""Who logs in: accounts and their roles, passwords, logins, sessions."""

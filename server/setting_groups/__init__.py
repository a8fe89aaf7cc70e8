"""Settings by what they are about; `server.settings` puts them together, one flat list."""

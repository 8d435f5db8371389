"""Redis, or Valkey: the server, and the copies of entries in it."""

"""From a request to its keys: pure, the same in SQL and on every supported Python."""

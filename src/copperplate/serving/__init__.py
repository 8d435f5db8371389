"""From an entry to the bytes of a rendition, and the count of requests."""

"""Pictures made from pictures that somebody brings."""

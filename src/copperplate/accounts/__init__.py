"""Requests of signed-in people."""

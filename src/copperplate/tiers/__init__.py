"""Copies of kept pictures that are answered without the ledger, and what makes them trustworthy."""

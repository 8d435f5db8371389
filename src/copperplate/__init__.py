"""Copperplate: makes each distinct AI picture once and serves it from the cache ever after."""

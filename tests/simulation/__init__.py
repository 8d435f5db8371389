"""The protocol, played thousands of times by seed: processes that crash, freeze and lose replies at every call."""

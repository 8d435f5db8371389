"""One generation: from a request's keys to a stored picture."""

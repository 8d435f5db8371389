"""The HTTP edge: pictures by URL, statistics, explanations, care."""

"""The shapes of JSON answers, as OpenAPI shows them, by resource."""

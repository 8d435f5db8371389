"""The deployment as Vercel would run it: built by its CLI, started by its runtime, driven over its protocol."""

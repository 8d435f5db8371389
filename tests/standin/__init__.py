"""STAND-IN for fal's queue and OpenAI's images: a real HTTP server for tests and demos, made by hand.

It speaks what their clients and documents say they speak; nothing here was recorded from either.
Each answer is numbered, every POST counted, every picture billed. What goes wrong is told to it per
prompt: over HTTP at `/control`, or in the prompt itself (`a red fox [slow=3]`).
"""

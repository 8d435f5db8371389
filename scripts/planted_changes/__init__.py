"""Mutation testing: plant one-line changes in a copy of the tree and report which of them no test notices.

.venv/bin/python -m scripts.planted_changes --map                  measure which test runs which line, once
.venv/bin/python -m scripts.planted_changes --seed 11 --count 120  plant changes drawn evenly over the areas
.venv/bin/python -m scripts.planted_changes --named                plant those of named.toml
"""

"""Sabotages of the product's code, each of which a named test must catch: `make planted`."""

"""Load generators of our own, each a program that ``loads.client`` starts."""

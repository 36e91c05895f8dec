"""Discrete sites that are enumerated: how programs are run so, and their sums."""

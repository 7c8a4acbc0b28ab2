"""Stands in for the module `cython` where Cython is not installed."""

compiled = False

"""Contracts: what every gate, corruption and backend promises, tested for all that the package
lists. A package, so that its files may be called as those of the rooms that they are about.
"""

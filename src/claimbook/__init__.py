"""Turns paired notebooks into a checked, offline book; knows nothing of their subject."""

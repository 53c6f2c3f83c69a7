"""From executed notebooks to the built book."""

"""The picture of the first page and of the README."""

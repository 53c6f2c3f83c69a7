"""Proofs about every string of a task that is too large to enumerate."""

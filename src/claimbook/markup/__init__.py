"""What pages may hold beyond plain Sphinx: claims, openings, figures, exercises."""

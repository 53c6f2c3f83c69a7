"""What the latents of a dictionary stand for, and what each of them does."""

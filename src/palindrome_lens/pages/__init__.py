"""What this book alone shows: the latents, the model in the page, the picture of the mirror."""

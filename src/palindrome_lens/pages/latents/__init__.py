"""The page that browses latents."""

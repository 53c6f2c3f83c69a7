"""The panel in which the trained model runs."""

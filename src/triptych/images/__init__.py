"""Raw pixels, from file to network input."""

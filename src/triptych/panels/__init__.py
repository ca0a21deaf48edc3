"""One entrant of a comparison: fit, save, export, predict."""

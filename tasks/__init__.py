"""One step each, thin: open the run, call one function of `triptych`, log, return a small record."""

"""The tasks, one thin step each: open a run, call one function of `triptych`, log, and return a small record."""

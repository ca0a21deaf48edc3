"""The machine: paths, atomic files, threads, environment, progress."""

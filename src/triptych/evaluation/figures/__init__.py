"""The figures of a report, in one style; drawn on `Figure` objects, which is thread-safe, unlike `pyplot`."""

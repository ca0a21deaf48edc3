"""Every setting, named and checked."""

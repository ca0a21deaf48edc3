"""The commands, one module for those that belong together; each imports the heavy libraries that it needs."""

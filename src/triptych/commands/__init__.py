"""The commands of the command line, related ones in one module; each imports the heavy libraries that it needs."""

"""The command that serves a registered model to people and programs over HTTP."""

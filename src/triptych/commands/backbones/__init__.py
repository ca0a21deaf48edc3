"""The command that lists the pretrained networks."""

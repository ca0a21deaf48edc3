"""What is known of a pretrained network before it is used: its size, its weights, its speed on this machine."""

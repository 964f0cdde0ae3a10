"""From one format of a home to the next, and back."""

"""What this site demands: of its own modules before they leave, of others before they enter."""

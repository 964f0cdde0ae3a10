"""What this site demands: of its own modules before they leave, of foreign ones before they enter."""

"""What people look at: contact sheets of synthetic images."""

"""What this site has admitted, revoked and done: modules, statements, the append-only record."""

"""Do a module's images look like the class that it claims? Compared with what this site knows."""

"""The site: the only place where records exist."""

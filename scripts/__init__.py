"""Programs that build, run and check the project; `make` calls them."""

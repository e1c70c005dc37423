"""What a round costs: against the stock stack, over numbers of sites, and over two hundred rounds."""

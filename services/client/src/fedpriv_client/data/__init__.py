"""From a site's file to standardised features. Nothing outside this package opens the file."""

"""What the images hold: a CycloneDX bill of materials of each, and all licences, held against an allow-list."""

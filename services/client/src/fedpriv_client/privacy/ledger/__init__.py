"""The site's privacy ledger: what was released, durable and chained, charged before anything is computed."""

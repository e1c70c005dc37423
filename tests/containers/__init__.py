"""The product as containers: real images, a real engine, real faults. `make test-containers` runs these."""

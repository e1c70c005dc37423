"""The privacy statement of a model: what was released, under which guarantee, signed by those who say so."""

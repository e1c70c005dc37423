"""Runs at one real server, over TLS with node authentication: started once, shared by all tests of this folder."""

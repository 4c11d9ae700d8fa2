"""The service: everything that ships, and nothing that needs torch."""

"""How the service bears what it should: overload, floods, slow and rude clients, hours of use."""

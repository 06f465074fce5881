"""Short forms of the standard commands."""

"""Terms and contracts used by every other room. Imports numpy and the standard library only."""

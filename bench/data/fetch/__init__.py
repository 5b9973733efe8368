"""Download published data sets. Only modules of this package open a socket."""

"""Download published data sets. Only files of this folder open a socket."""

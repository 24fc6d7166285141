"""Bytes of files, read and written by hand-written code: what the chapters need and do not teach."""

"""Other libraries' words: what published settings mean, and what is done with each of them. Written by hand."""

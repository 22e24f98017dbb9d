"""One file an algorithm; read them in the order of the book."""

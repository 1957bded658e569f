"""The same HTTP scenarios over real sockets on every server the README names."""

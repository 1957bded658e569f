"""What people see of each other at once: a chat, a board, a search, over WebSockets."""

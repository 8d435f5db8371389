"""The server process: workers, connections, sockets."""

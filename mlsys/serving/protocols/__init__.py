"""Messages, files, streams and swarms over TCP and UDP."""

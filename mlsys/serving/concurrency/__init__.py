"""Threads, processes and coroutines at the same work, and servers of each design."""

"""One thread, many waits: lesson 12's clients, servers, chat room and bot."""

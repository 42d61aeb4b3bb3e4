"""The dining philosophers: in threads, in processes over TCP, and as a small model."""

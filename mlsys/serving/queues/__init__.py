"""Tasks through brokers: by hand on Valkey, Celery, huey, NATS JetStream, and a log."""

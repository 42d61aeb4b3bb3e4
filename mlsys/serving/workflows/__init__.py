"""One spam filter at work in three ways: in a batch, on a device, as a service."""

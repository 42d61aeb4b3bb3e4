"""The one error of the monitoring engine that a caller can act on."""


class MonitoringError(ValueError):
    """Data, a file or a setting cannot be used; the message says why and what to do."""

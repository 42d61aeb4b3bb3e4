"""Real servers on this machine, for the length of a `with`, and faults put between them.

`valkey`, `postgres`, `nats`, `nginx`, `s3` start one server each; `web_app`, `replicas` and
`worker` processes of our own; `proxy` a link that can be slowed, cut and healed; `nats_cluster`,
`valkey_cluster` and `postgres_cluster` replicated stores with such links between their nodes;
`bot_api` stands where api.telegram.org stands for a bot. All are context managers: ready inside
the `with`, gone after it, gone too when the kernel is killed.

The names are imported at their first use, since each brings its client library along.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# No module is called like a name in it: importing it would put the module in the name's place.
_NAMES = {
    "bot_api_conversation": ("Conversation", "Expect", "Replayed", "Say", "Turn", "replay"),
    "bot_api_server": ("BotApi", "bot_api"),
    "clusters": ("Refused", "Unanswered"),
    "clusters_nats": ("NatsCluster", "nats_cluster"),
    "clusters_postgres": ("PostgresCluster", "postgres_cluster"),
    "clusters_valkey": ("ValkeyCluster", "valkey_cluster"),
    "doctor": ("Check", "check"),
    "errors": ("ServiceError",),
    "experiments": (
        "Outcome",
        "StaleReads",
        "lost_writes_after_failover",
        "stale_reads",
    ),
    "faults": ("Link", "proxy"),
    "groups": ("Group", "WebApp", "replicas", "web_app", "worker"),
    "nats_server": ("Nats", "nats"),
    "nginx_server": ("Nginx", "nginx"),
    "postgres_server": ("Postgres", "postgres"),
    "recording": ("record",),
    "s3_server": ("ObjectStore", "s3"),
    "server": ("Server",),
    "valkey_server": ("Valkey", "valkey"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"mlsys.services has no {name!r}; it has {', '.join(sorted(_HOME))}.")
    value = getattr(import_module(f"mlsys.services.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_HOME)

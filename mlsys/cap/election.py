"""How long a Raft cluster is without a leader, by the range of its election time-outs.

The experiment of figure 16 of the Raft paper (Ongaro and Ousterhout, 2014), on the very code of
`mlsys.cap.stores.raft`: a leader that has just sent its heartbeat crashes at a random moment of
the heartbeat interval, half the shortest time-out long; the time runs until another one leads.
"""

from __future__ import annotations

import numpy as np

from mlsys.cap.cluster import Cluster
from mlsys.cap.faults import Crash
from mlsys.cap.scenes import Scene

GIVE_UP_MS = 20_000.0
STEP_MS = 5.0


def election_times(
    timeouts: tuple[float, float] = (150.0, 300.0),
    *,
    servers: int = 5,
    broadcast_ms: float = 15.0,
    trials: int = 1000,
    seed: int = 0,
    give_up_ms: float = GIVE_UP_MS,
) -> np.ndarray:
    """Milliseconds from the crash of the leader to the next leader, one a trial.

    `broadcast_ms` is the mean of a round trip: each way takes half of it, exponentially spread.
    A trial without a leader after `give_up_ms` counts as that. As a round trip the paper's 15 ms
    does not give its numbers (6 to 8 ms does); the shape is the same. Raises SceneError when the
    range or the number of servers makes no sense.
    """
    return np.array(
        [
            _one_trial(timeouts, servers, broadcast_ms, seed * 1_000_003 + trial, give_up_ms)
            for trial in range(trials)
        ]
    )


def _one_trial(
    timeouts: tuple[float, float], servers: int, broadcast_ms: float, seed: int, give_up_ms: float
) -> float:
    low, high = map(float, timeouts)
    heartbeat = max(low / 2, 2.0)
    scene = Scene(
        store="raft",
        nodes=servers,
        latency=f"exponential:{broadcast_ms / 2}",
        heartbeat_ms=heartbeat,
        election_low_ms=low,
        election_high_ms=high,
        keep_messages=0,
        seed=seed,
    )
    cluster = Cluster(scene)
    cluster.boot()
    elected = _next_leader(cluster, 0.0, give_up_ms)
    if elected is None:
        return give_up_ms
    crash = elected + heartbeat * (4 + cluster.simulation.rng.random())
    cluster.simulation.run(crash)
    cluster.strike(Crash(crash, cluster.leader() or 0))
    elected = _next_leader(cluster, crash, give_up_ms)
    return give_up_ms if elected is None else elected - crash


def _next_leader(cluster: Cluster, since: float, patience: float) -> float | None:
    """When somebody came to lead after `since`; None when nobody did for `patience` ms."""
    seen = len(cluster.roles)
    while cluster.simulation.now < since + patience:
        cluster.simulation.run(cluster.simulation.now + STEP_MS)
        for time, _, role, _ in cluster.roles[seen:]:
            if role == "leader" and time > since:
                return time
        seen = len(cluster.roles)
    return None

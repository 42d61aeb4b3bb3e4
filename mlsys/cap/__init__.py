"""The CAP laboratory: a replicated store under faults, its history, and whether it kept its word.

`run(preset("isolated leader", store="raft", seed=7))` plays a scene in simulated time; its history
goes to `check` (is it linearizable?), its run to the measures (how available, fast, stale was it,
what was lost?). `wars` gives staleness by Monte Carlo without a simulation. Everything here
computes; pictures are drawn by `mlsys.cap.figures`, which this package does not import.
"""

from mlsys.cap.checker import Verdict, Witness, check
from mlsys.cap.consistency import (
    Finding,
    Staleness,
    StaleRead,
    check_causal,
    check_sequential,
    stale_reads,
)
from mlsys.cap.election import election_times
from mlsys.cap.faults import (
    Crash,
    Fault,
    FaultError,
    Heal,
    IsolateLeader,
    OneWay,
    Partition,
    Restart,
    Skew,
    Slow,
)
from mlsys.cap.history import Event, History, HistoryError, Operation
from mlsys.cap.latency import (
    LAN,
    LNKD_DISK,
    LNKD_SSD,
    PROFILES,
    WAN,
    YMMR,
    YMMR_PRINTED,
    LatencyError,
    Profile,
    profile,
)
from mlsys.cap.measures import (
    Availability,
    PerSecond,
    Summary,
    availability,
    availability_by_side,
    by_second,
    convergence_ms,
    latencies,
    lost,
    lost_writes,
    missing_from_counter,
    percentiles,
    summary,
)
from mlsys.cap.outcomes import Outcome, outcomes
from mlsys.cap.pbs import Draws, k_staleness, miss_probability, quantile, wars
from mlsys.cap.runs import Instant, Run, run
from mlsys.cap.scenes import CONFLICTS, PRESETS, READS, Scene, SceneError, preset
from mlsys.cap.staleness import ReadAge, Sessions, read_ages, sessions, visibility, within_versions
from mlsys.cap.sweeps import SweepError, grid, sweep

__all__ = [
    "CONFLICTS",
    "LAN",
    "LNKD_DISK",
    "LNKD_SSD",
    "PRESETS",
    "PROFILES",
    "READS",
    "WAN",
    "YMMR",
    "YMMR_PRINTED",
    "Availability",
    "Crash",
    "Draws",
    "Event",
    "Fault",
    "FaultError",
    "Finding",
    "Heal",
    "History",
    "HistoryError",
    "Instant",
    "IsolateLeader",
    "LatencyError",
    "OneWay",
    "Operation",
    "Outcome",
    "Partition",
    "PerSecond",
    "Profile",
    "ReadAge",
    "Restart",
    "Run",
    "Scene",
    "SceneError",
    "Sessions",
    "Skew",
    "Slow",
    "StaleRead",
    "Staleness",
    "Summary",
    "SweepError",
    "Verdict",
    "Witness",
    "availability",
    "availability_by_side",
    "by_second",
    "check",
    "check_causal",
    "check_sequential",
    "convergence_ms",
    "election_times",
    "grid",
    "k_staleness",
    "latencies",
    "lost",
    "lost_writes",
    "miss_probability",
    "missing_from_counter",
    "outcomes",
    "percentiles",
    "preset",
    "profile",
    "quantile",
    "read_ages",
    "run",
    "sessions",
    "stale_reads",
    "summary",
    "sweep",
    "visibility",
    "wars",
    "within_versions",
]

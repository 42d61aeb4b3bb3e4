"""The replicated stores, one module each; `STORES` finds them by the name a scene uses."""

from mlsys.cap.stores.chain import Chain
from mlsys.cap.stores.leader_async import AsyncLeader
from mlsys.cap.stores.leader_sync import SyncLeader
from mlsys.cap.stores.quorum import Quorum
from mlsys.cap.stores.raft import Raft
from mlsys.cap.stores.replica import Replica
from mlsys.cap.stores.two_phase import TwoPhase

STORES: dict[str, type[Replica]] = {
    "async": AsyncLeader,
    "sync": SyncLeader,
    "raft": Raft,
    "quorum": Quorum,
    "chain": Chain,
    "2pc": TwoPhase,
}

"""The typed door to the native engine, and the only package that imports it.

`Engine` is what runs the wire path: it is given snapshots (`publish`) and secrets (`lease`), hands
back what happened (`events`) and calls out on Tidegate's own behalf (`fetch`). `explain` decides
a call on a snapshot without making it. `tidegate.engine.transport` puts `fetch` under httpx.
"""

from tidegate.engine import _memory as _memory  # isort: split  # before the engine is loaded
from tidegate.engine.cache import (
    CacheOnDisk,
    CachePurge,
    CacheShare,
    CacheStats,
    SharedCacheStats,
)
from tidegate.engine.config import (
    CacheBounds,
    CacheDisk,
    EngineConfig,
    Listener,
    ListenerTls,
    Resolver,
    SharedStore,
)
from tidegate.engine.engine import (
    Engine,
    EventBatch,
    PersonAsk,
    SharedStanding,
    Stats,
    classify_address,
    subject_index,
    version,
)
from tidegate.engine.errors import EngineError, FetchError
from tidegate.engine.explain import (
    ExplainRequest,
    ExplainStep,
    Explanation,
    check_snapshot,
    explain,
)
from tidegate.engine.fetch import ClientIdentity, Fetched, FetchOptions, Signing

__all__ = [
    "CacheBounds",
    "CacheDisk",
    "CacheOnDisk",
    "CachePurge",
    "CacheShare",
    "CacheStats",
    "ClientIdentity",
    "Engine",
    "EngineConfig",
    "EngineError",
    "EventBatch",
    "ExplainRequest",
    "ExplainStep",
    "Explanation",
    "FetchError",
    "FetchOptions",
    "Fetched",
    "Listener",
    "ListenerTls",
    "PersonAsk",
    "Resolver",
    "SharedCacheStats",
    "SharedStanding",
    "SharedStore",
    "Signing",
    "Stats",
    "check_snapshot",
    "classify_address",
    "explain",
    "subject_index",
    "version",
]

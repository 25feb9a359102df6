"""How the engine's allocator holds memory; it reads this once, when the engine is loaded.

Memory is taken page by page as it is touched, not arena by arena: of a connection that rests, most of
the two buffers of 8 KiB is never touched.
"""

import os

os.environ.setdefault("MIMALLOC_ARENA_EAGER_COMMIT", "0")

"""Wire everything: the composition root, and the only package that knows all the others.

`services` opens this installation's state for one command; `tidegate.app.gateway` is what `tidegate
up` runs. They meet in the store alone: a command writes there, and a running gateway notices.
"""

from tidegate.app.home import Home
from tidegate.app.services import NewRootKey, Services, load_declaration, services

__all__ = ["Home", "NewRootKey", "Services", "load_declaration", "services"]

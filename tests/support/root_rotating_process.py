"""One process that replaces the root key, again and again, until it is killed.

`python -m support.root_rotating_process DATA ROOT_FILE STORE`: it says `ready`, and a line for each
root key that is in force.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tidegate.app import Home, services
from tidegate.app.vaulting import rotate_root


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    data, root_file, url = sys.argv[1:]
    with services(Home(Path(data), Path(root_file), url)) as state:
        say("ready")
        while True:
            say(str(rotate_root(state, None, handover_s=0).number))


if __name__ == "__main__":
    main()

"""A story of calls through a real gateway to sandboxed providers, each with what should come of it.

`stage` puts gateway and providers up, `story` holds the scenes, `play` plays them and compares. How
it is shown is the command's business.
"""

from tidegate.demo.play import Told, play
from tidegate.demo.stage import Stage, set_stage
from tidegate.demo.story import STORY, Scene

__all__ = ["STORY", "Scene", "Stage", "Told", "play", "set_stage"]

"""The fields of the page *Model monitoring* in its address, and what its choices are called.

What a scene does is for `mlsys.monitoring`; what the page says of it, for `monitoring_story.py`.
"""

from collections.abc import Mapping

from dashboards import address
from mlsys.monitoring.scenes import DAYS, SCENES

SOURCES = {"scene": "A scene", "live": "A live service", "files": "Your own files"}
NAMES = {name: scene.title for name, scene in SCENES.items()}

FIELDS = (
    address.choice("source", "scene", SOURCES),
    address.choice("scene", "covariate", SCENES),
    address.whole("strength", 100, 0, 100, step=10),
    address.whole("day", DAYS, 1, DAYS),
    address.whole("seed", 0, 0, 999),
)


def story(values: Mapping[str, object]) -> str:
    """What happens in the chosen scene, and what the textbooks call it."""
    scene = SCENES[values["scene"]]
    kind = "" if scene.kind == "none" else f" In the textbooks: {scene.kind}."
    return scene.story + kind

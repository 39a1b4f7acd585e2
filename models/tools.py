"""The tools that the project brings. Importing this module imports neither torch nor diffusers."""

from typing import Any

from models.critique_image import CritiqueImage
from models.estimate_depth import EstimateDepth
from models.generate_image import GenerateImage
from models.language.tool import Converse
from models.prune_backend import PruneBackend
from models.tool import Tool


def builtin_tools() -> list[Tool[Any, Any, Any]]:
    """One of each tool, for an executor."""
    return [GenerateImage(), CritiqueImage(), Converse(), PruneBackend(), EstimateDepth()]

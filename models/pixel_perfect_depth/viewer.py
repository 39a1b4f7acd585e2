"""A point cloud as one HTML page that needs no network: three.js and the points are in it.

`viewer.js` is three.js (MIT) with `scripts/viewer/entry.js`, bundled by `make viewer`.
"""

import base64
import html
from pathlib import Path

import numpy as np

from models.pixel_perfect_depth.geometry import PointCloud
from models.whole_file import write_whole

SCRIPT = Path(__file__).with_name("viewer.js")
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 0; overflow: hidden; background: #202124; color: #e8eaed; font: 14px/1.5 sans-serif; }}
p {{ position: absolute; left: 16px; bottom: 8px; margin: 0; pointer-events: none; }}
</style>
</head>
<body>
<p>{title}: {count} points. Drag to turn, wheel to come nearer, + and - for larger points.</p>
<script type="text/plain" id="positions">{positions}</script>
<script type="text/plain" id="colours">{colours}</script>
<script>{script}</script>
</body>
</html>
"""


def write_page(cloud: PointCloud, path: Path, title: str) -> None:
    """Write the page; in it y points up and z towards the viewer.

    Raises:
        ToolError: it cannot be written.
    """
    points = cloud.points * np.array([1, -1, -1], np.float32)
    text = _PAGE.format(
        title=html.escape(title),
        count=f"{len(cloud):,}",
        positions=_encode(points.astype("<f4")),
        colours=_encode(cloud.colours),
        script=SCRIPT.read_text("utf-8").replace("</script", "<\\/script"),
    )
    write_whole(path, text.encode())


def _encode(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")

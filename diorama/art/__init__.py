"""Makes the sprite atlas from openly licensed art: `python -m diorama.art.build`, or `make sprites`.

Build time only: it fetches packages with npm and draws SVG with resvg (extra `[sprites]`). Nothing that
renders imports it.
"""

"""In which order: state, nodes, routes, and the graphs. No torch, no web."""

import os

# LangGraph reads this at its first import: a checkpoint may then revive only the types that a state names.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")

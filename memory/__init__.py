"""What stays: pictures, runs, checkpoints, episodes and what they teach. No torch, no graph."""

import os

# LangGraph and Chroma read these once, on their first import; a value that the user set stands (and is
# checked).
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")

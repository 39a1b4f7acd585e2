"""What runs on a device: tools, the executor that runs them, backends, and one folder per method.

Knows nothing about graphs, minds or the web.
"""

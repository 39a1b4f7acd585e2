"""How people reach the studio: the terminal, sheets, and later HTTP, MCP and a web page."""

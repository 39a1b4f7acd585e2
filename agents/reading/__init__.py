"""Minds that read: a role's request told in JSON, a reply in JSON understood. Knows endpoints, no graph."""

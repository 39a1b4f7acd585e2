"""Every test runs in the environment that the command sets up, before any library reads it."""

import os

from app import ENVIRONMENT

os.environ.update(ENVIRONMENT)

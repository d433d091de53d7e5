"""Puts the drill engine into every Python process with this folder on its PYTHONPATH: workers, sandboxes."""

import docmill_drill

docmill_drill.install()

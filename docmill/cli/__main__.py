"""`python -m docmill.cli`."""

import sys

from docmill.cli.main import main

sys.exit(main())

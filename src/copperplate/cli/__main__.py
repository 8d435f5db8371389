"""`python -m copperplate.cli`, the same as `copperplate`."""

import sys

from copperplate.cli import main

sys.exit(main())

"""``python -m eac_lightning`` is ``eac``."""

import sys

from eac_lightning.cli import main

if __name__ == "__main__":
    sys.exit(main())

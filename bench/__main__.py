"""``python -m bench``."""

import sys

try:
    from bench.cli.main import main
except KeyboardInterrupt:  # Ctrl-C during the import: no traceback
    sys.exit(130)

if __name__ == "__main__":
    main()

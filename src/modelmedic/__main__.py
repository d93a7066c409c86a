"""``python -m modelmedic``."""

import sys

# With -m Python looks in the current folder first, and that is most often the install under
# test: its json.py or pytest.py must not run. -I and -P (Python 3.11) leave it out themselves.
if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    del sys.path[0]

from modelmedic.cli import main

raise SystemExit(main())

"""`python -m chat.terminal`: the client without Django."""

import sys

from chat.terminal.start import main

sys.exit(main())

"""`python -m freehold.own.convert`: the child process of child.py. It is given its task on stdin."""

import sys

from freehold.own.convert.child import main

if __name__ == "__main__":
    sys.exit(main())

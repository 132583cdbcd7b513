"""What tests draw at random begins with one seed: MILEPOST_SEED, or a new one. A test that draws prints it, so that
it can be repeated; `tests.again` sets it, so that a test fails a second time by what it failed by at first.
"""

import os
import random

SEED = int(os.environ.get("MILEPOST_SEED") or random.SystemRandom().randrange(1, 10**6))

"""The practice partner: a maker's care-records system for demos and tests, in two profiles.

It judges independently: nothing here imports the code that it is used to test.
"""

from __future__ import annotations

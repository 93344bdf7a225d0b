"""Partners that count by themselves, and a bad line to them; nothing here knows the project's code.

``visit_partner`` keeps visits and a journal of what was done to them, ``counting_partner`` judges each kind of limit by
the arrivals it sees, ``dropping_proxy`` loses answers. Each is a process of its own: ``python -m judge.<name>``.
"""

from __future__ import annotations

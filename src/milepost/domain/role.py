"""Roles: what a person who signs in to the console may look at and do.

A role is a set of permissions and a page or a form needs one of them. API keys have scopes instead
(`store.credentials`); the two never mix: a session opens the console only, a key the API only.

| permission | what it opens                                                                                    |
|------------|--------------------------------------------------------------------------------------------------|
| `orders`   | search, orders, deliveries, trackers, timelines, why, what was known then, the queues to read    |
| `serve`    | what a service agent does: notes, corrections, notifications again, tracking links, queues       |
| `insights` | metrics over many parcels, their rows, CSV                                                       |
| `operate`  | the integrator's pages: events as they came, quarantine, subscribers, attempts, replays, mapping |
| `admin`    | users, roles, the audit log                                                                      |
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

Role = Literal["agent", "analyst", "operator", "admin"]
Permission = Literal["orders", "serve", "insights", "operate", "admin"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)

PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    "agent": frozenset({"orders", "serve"}),
    "analyst": frozenset({"orders", "insights"}),
    "operator": frozenset({"orders", "serve", "insights", "operate"}),
    "admin": frozenset({"orders", "serve", "insights", "operate", "admin"}),
}


def may(role: Role, permission: Permission) -> bool:
    """Whether somebody of this role may do what needs this permission."""
    return permission in PERMISSIONS[role]

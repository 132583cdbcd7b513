"""The console: pages for the people of a merchant or an agency, rendered here and readable without a script.

`web.visiting` says who looks and what they may, `pages` renders, `forms` takes what is sent back, `assets` serves
style sheet, script, icons and fonts. Every other module is one kind of page: its addresses, what it reads, what its
forms do. A page reads through the same functions as the API beside this folder, so that both say the same.
"""

from milepost.web.console import (
    account,
    assets,
    attempts,
    audit,
    events,
    front,
    health,
    insights,
    live,
    mapping,
    order_actions,
    order_corrections,
    order_why,
    orders,
    quarantine,
    queue_filters,
    queues,
    replays,
    signing_in,
    subscribers,
    trackers,
    users,
)

HANDLERS = [
    *assets.HANDLERS,
    *front.HANDLERS,
    *signing_in.HANDLERS,
    *account.HANDLERS,
    *users.HANDLERS,
    *audit.HANDLERS,
    *orders.HANDLERS,
    *order_actions.HANDLERS,
    *order_corrections.HANDLERS,
    *order_why.HANDLERS,
    *trackers.HANDLERS,
    *queues.HANDLERS,
    *queue_filters.HANDLERS,
    *events.HANDLERS,
    *live.HANDLERS,
    *quarantine.HANDLERS,
    *subscribers.HANDLERS,
    *replays.HANDLERS,
    *attempts.HANDLERS,
    *health.HANDLERS,
    *insights.HANDLERS,
    *mapping.HANDLERS,
]
"""Every route of the console."""

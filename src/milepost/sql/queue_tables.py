"""The tables of work queues: what is in them, what people did about it, and the filters they keep.

They are part of `schema`, which is how everybody names them. `queue_items` is a view: the projector writes it beside
the orders and trackers it is worked out from, `views.clear` forgets it and a rebuild makes it anew. The other two are
people's: no rebuild touches them.
"""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, PrimaryKeyConstraint, Table, text

from milepost.domain.queue import HANDLED
from milepost.sql.columns import Text, metadata

queue_items = Table(
    "queue_items",
    metadata,
    Column("queue", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("business_product_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("delivery_id", Text, nullable=False),
    Column("carrier_code", Text, nullable=False),
    Column("tracking_number", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("hidden_until", BigInteger, nullable=False),
    Column("assignee", Text, nullable=False),
    PrimaryKeyConstraint("queue", "since", "business_product_id", "subject"),
    sqlite_with_rowid=False,
)
"""In the order in which queues are read. `owner` is the order or tracker whose view says so: its rows are replaced
together. `hidden_until` and `assignee` are copies of the item's mark, so that a page and a count read one table;
`dump` leaves them out."""
Index("queue_items_owner", queue_items.c.business_product_id, queue_items.c.owner)
Index(
    "queue_items_product",
    queue_items.c.queue,
    queue_items.c.business_product_id,
    queue_items.c.since,
    queue_items.c.subject,
    queue_items.c.hidden_until,
)

UNHANDLED: Final = text(f"hidden_until < {HANDLED}")
"""Said in these very words where rows are looked for, or neither database knows that these indexes hold them all."""
for _name, _columns in (
    ("queue_items_open", ("queue", "since", "hidden_until")),
    ("queue_items_open_product", ("queue", "business_product_id", "since", "hidden_until")),
):
    Index(
        _name,
        *(queue_items.c[_column] for _column in _columns),
        sqlite_where=UNHANDLED,
        postgresql_where=UNHANDLED,
    )

queue_marks = Table(
    "queue_marks",
    metadata,
    Column("business_product_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("assignee", Text, nullable=False),
    Column("snoozed_until", BigInteger),
    Column("handled_count", Integer),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("business_product_id", "owner", "queue", "subject", "since"),
    sqlite_with_rowid=False,
)
"""What people did about one item, while it was raised that time. It goes with its order or tracker."""

saved_filters = Table(
    "saved_filters",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("shared", Boolean, nullable=False),
    Column("queue", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("query", Text, nullable=False),
    Column("business_product_ids", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
"""`business_product_ids` are its owner's when it was saved, empty for all: what is shared is shared with those who
may see at least these."""
Index("saved_filters_owner", saved_filters.c.owner)

saved_filter_products = Table(
    "saved_filter_products",
    metadata,
    Column("business_product_id", Text, nullable=False),
    Column("filter_id", Text, nullable=False),
    PrimaryKeyConstraint("business_product_id", "filter_id"),
    sqlite_with_rowid=False,
)
"""The same, one row each, of those that are shared: so that what others share is not looked through."""
Index("saved_filter_products_filter", saved_filter_products.c.filter_id)

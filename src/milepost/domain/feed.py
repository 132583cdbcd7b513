"""The analytics feed: which datasets there are, their columns, and what each column means (tracking.md 10).

`facts` and `accounting` only grow; the others show how things stand, or stand by now. `feed_facts` and `feed_rows`
make the rows, `pipeline.exporting` reads them from the store, `pipeline.export_formats` writes them as files.

No dataset holds personal data: no name, email, street, postal code or town, no text that a carrier or an agent wrote,
nobody to whom something was sent. What is left names orders, deliveries and parcels by their ids, and of a place its
region and country.
"""

from typing import Final, Literal

from msgspec import Struct

ROWS_VERSION: Final = 1
"""Of what rows are made of records. A cursor of another version is refused, so that no file mixes two. What carriers'
codes are taken to mean has versions of its own (`domain.mapping`), which stand in the rows that go by them."""

ColumnType = Literal["integer", "boolean", "instant", "date", "text", "code"]
"""In a `Row`: int, bool, `Instant`, YYYY-MM-DD, text, and text of which there are few different ones."""

Cell = int | bool | str | None
Row = tuple[Cell, ...]
"""One row, a cell a column; None where something is not known or does not apply."""


class Column(Struct, frozen=True):
    """One column of a dataset."""

    name: str
    type: ColumnType
    text: str


class Dataset(Struct, frozen=True):
    """What can be exported under one name."""

    name: str
    text: str
    appended: bool
    """Rows are added and never change: what came since an export can be exported by itself."""
    columns: tuple[Column, ...]


def _columns(listed: str) -> tuple[Column, ...]:
    """`name type meaning`, a line each."""
    found: list[Column] = []
    for line in listed.strip().splitlines():
        name, kind, text = line.split(maxsplit=2)
        found.append(Column(name, kind, text))  # type: ignore[arg-type]
    return tuple(found)


_ESTIMATE = """
estimateEarliest date first day of the estimated window, as written
estimateLatest date last day of it
promisedEarliest date first day of the window that was estimated first after it shipped, which then stays
promisedLatest date last day of that window
estimateRevisions integer how often the estimate changed since
"""

_FACTS = """
position integer of the record in the journal; with `part` the key
part integer which row of its record, from 0
record code kind of the record: event, conflict, snapshot, condition, settlement, authorization, correction, \
withdrawal
kind code what the row says: claim, answer, delivery, milestone, estimate, condition, settlement, \
authorization, correction, withdrawal; unreadable where a record could not be read
code code of a claim the event's type, of a milestone its code, of a delivery its state, of an answer the query, \
of a condition or a settlement its code
mapped code the stage or condition that a milestone's code is taken to mean; null for one that is not known
businessProductId code whose it is
orderId text of the order
deliveryId text of the delivery
carrierCode code as written
trackingNumber text of the parcel
occurredAt instant when it happened, as stated by who reported it; of what Milepost found out itself, when it did
localDate date the day that `occurredAt` names where it was written
zone code how that day is known: offset-explicit, utc, inferred-from-place, date-only, unknown
publishedAt instant of an event: its eventTime
receivedAt instant when Milepost journalled it
observedAt instant when an answer was given; of what an event carried, when the event was published
raised boolean of a condition: raised or cleared
reason code of a delivery: why it is so; of a condition: which kind of it; of an answer that shows nothing: nothing
region code of a milestone
country code of a milestone
earliest date of an estimate: the first day of the window
latest date of an estimate: the last day of it
until instant of an authorization: until when payment may be collected
shownBy code which answer showed it: order, packageTracker, or data (an event carried it)
eventId text of an event
origin integer position of the record that a conflict, a settlement or a withdrawal is about
road code webhook, eventbridge, replay; hydration, sweeper, api for what Milepost journals itself
mappingVersion integer of what codes were taken to mean when the record was journalled; what `mapped` goes by
"""

_ORDERS = """
number integer in the order in which orders were first heard of; new after a rebuild
id text its id
businessProductId code whose it is
state code PENDING, IN_TRANSIT, DELIVERED, CANCELLED
deliveries integer how many there are
pending integer of them
inTransit integer of them
delivered integer of them
cancelled integer of them
worstCondition code the worst open condition
createdAt instant when it was placed
destination code the region that it goes to, such as US-OR, where the API tells it
totalAmount text decimal
currencyCode code of the amount
paymentState code as Buy with Prime tells it
authorizedAt instant when its payment was authorised
captureBefore instant until when payment may be collected
aliases text ids of it in other systems, with a space between
lineItems integer how many there are
position integer of its newest record: as of when the row is
"""

_DELIVERIES = f"""
number integer in the order in which deliveries were first heard of; new after a rebuild
id text its id
businessProductId code whose it is
orderId text of the order
state code PENDING, IN_TRANSIT, DELIVERED, CANCELLED
reason code why it was cancelled
claimedState code what events and answers claim, carriers left aside
shippedAt instant when it shipped
shippedOn date the local day, as written
shippedAtZone code how that day is known
shippedAtSource code by what: possession, event, snapshot, correction
deliveredAt instant when it was delivered
deliveredOn date the local day, as written
deliveredAtZone code how that day is known
deliveredAtSource code by what: milestone, event, snapshot, correction
shipEvidenceAt instant of the first evidence that it shipped
shipEvidenceKind code milestone, event, snapshot, correction
shipInferred boolean nothing but its delivery shows that it shipped
{_ESTIMATE.strip()}
trackers integer how many parcels carry it
carrierCode code of the first of them
trackingNumber text of the first of them
lineItems integer how many there are
openConditions text codes, with a space between
position integer of its newest record: as of when the row is
"""

_TRACKERS = f"""
number integer in the order in which trackers were first heard of; new after a rebuild
businessProductId code whose it is
carrierCode code as written
trackingNumber text of the parcel
orderId text of the first order that it is known to carry something of
deliveryId text of the same
orders integer how many there are
stage code where the parcel is (see views)
stageEnteredAt instant since when
generation integer which use of the number, from 1
orphan boolean no order is known
{_ESTIMATE.strip()}
firstInfoAt instant when the carrier was first told of it
firstPossessionAt instant when the carrier had it
firstOutForDeliveryAt instant first time out for delivery
firstAttemptAt instant first failed attempt
readyAt instant when it could be picked up
deliveredAt instant when it was delivered
returnStartedAt instant when it began to go back
lastScanAt instant of the last scan that counts
lastFactAt instant when the last new fact came in
failedAttempts integer how many
milestones integer how many there are, those that do not count too
openConditions text codes, with a space between
position integer of its newest record: as of when the row is
"""

_MILESTONES = """
number integer of its tracker; with `part` the key
part integer which one of its tracker, oldest first, from 0
businessProductId code whose it is
carrierCode code as written
trackingNumber text of the parcel
generation integer which use of the number, from 1
code code of the carrier, normalised; of one that was mapped, what it means
mapped code the stage or condition that the code is taken to mean; null for one that is not known
occurredAt instant when it happened
localDate date the day that `occurredAt` names where it was written
zone code how that day is known
observedAt instant when an answer first showed it
standing code what the fold made of it: counts, contradicted, superseded, setAside …
flags text what is odd about it, with a space between
region code where it happened
country code where it happened
position integer of the first record that showed it
mappingVersion integer of what codes are taken to mean, by which its tracker is folded; what `mapped` goes by
"""

_ACCOUNTING = """
number integer the key
id text its id
businessProductId code whose it is
orderId text of the order
deliveryId text of the delivery
kind code shipped, delivered
revision integer from 1; a reversal has the one that it reverses
sign integer 1, or -1 for a reversal
status code provisional, settled
reason code new, correction, settled, withdrawn
occurredAt instant when it happened
destinationDate date the local day at the destination
originDate date the local day where it was sent from
zone code how the local day is known
taxPeriod code YYYY-MM of the local day
postingPeriod code YYYY-MM to which it is posted
postedAt instant when the row was added
evidenceKind code what showed it
evidencePosition integer the record that showed it
evidenceEventId text the event that showed it
"""

_NOTIFICATIONS = """
number integer the key
id text its id
businessProductId code whose it is
orderId text of the order
deliveryId text null: the order as a whole
kind code what it tells
ordinal text which one of its kind
state code WAITING, SENDING, SENT, FAILED, UNCERTAIN, SUPPRESSED
rule integer the rule that suppressed or postponed it
channel code email, webhook
locale code its language
occurredAt instant when it happened
decidedAt instant when it was decided
dueAt instant when the rules are asked
sentAt instant when it was sent
tries integer how often it was tried
covers integer how many others it told along with itself
byHand boolean an agent asked for it to be sent again
"""

_CAPTURES = """
number integer the key
id text its id
businessProductId code whose it is
orderId text of the order
deliveryId text of the delivery
state code READY, SENT, FAILED, HELD, ACKED, VOID
readyAt instant when ship evidence was first folded
sentAt instant when a subscriber first took it
acknowledgedAt instant when somebody said that it was collected
inferred boolean no ship event: it was seen delivered, or in an answer
heldFor code why Milepost itself holds it; null for what people hold
suggestedAmount text decimal
currencyCode code of the amount
carrierCodes text with a space between
lineItems integer how many there are
"""


def _dataset(name: str, columns: str, text: str, *, appended: bool = False) -> Dataset:
    return Dataset(name, text, appended, _columns(columns))


DATASETS: Final[dict[str, Dataset]] = {
    dataset.name: dataset
    for dataset in (
        _dataset(
            "facts",
            _FACTS,
            "Everything that the folds read, a row each: claims, answers, what Milepost found out.",
            appended=True,
        ),
        _dataset("orders", _ORDERS, "Orders as they stand."),
        _dataset("deliveries", _DELIVERIES, "Deliveries (parcels) as they stand."),
        _dataset("trackers", _TRACKERS, "Tracking numbers as they stand."),
        _dataset(
            "milestones", _MILESTONES, "Every scan of every tracker once, with what the fold made of it."
        ),
        _dataset(
            "accounting",
            _ACCOUNTING,
            "That a delivery shipped or arrived, and on which local day; corrections are rows of their own.",
            appended=True,
        ),
        _dataset("notifications", _NOTIFICATIONS, "What shoppers were told, or were not, and by which rule."),
        _dataset("captures", _CAPTURES, "Which payments may be collected, and what became of them."),
    )
}

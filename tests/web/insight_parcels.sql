-- Parcels as an analyst makes them of the raw facts: one row a tracker of a delivery, or a delivery without one.
-- From the exports `facts` and `orders`, and from `held` and `items`, what order answers say of line items. Times are
-- seconds since 1970; :now is one. Written from tracking.md 8 and 9 and docs/insights.md, not from Milepost's code.

create macro secs(t) as epoch_ms(t) // 1000;
create macro local_day(t, zone) as (to_timestamp(t) at time zone zone)::date;
create macro end_of_day(day, zone) as epoch((day + interval 1 day)::timestamp at time zone zone)::bigint;
create macro weekday(t) as isodow(make_timestamp(t * 1000000));
create macro begins(t) as case when weekday(t) < 6 then t else (t // 86400 + 8 - weekday(t)) * 86400 end;
create macro four_weekdays_on(t) as begins(t) + (4 + 2 * (weekday(begins(t)) > 1)::int) * 86400;
create macro age_of(days) as case when days < 1 then '0–1' when days < 2 then '1–2' when days < 3 then '2–3'
  when days < 5 then '3–5' when days < 7 then '5–7' when days < 14 then '7–14' else '14+' end;
create macro tracker_of(carrier, number) as lower(carrier) || '/' || number;

create table zones as select * from (values ('US-OR', 'America/Los_Angeles'), ('US-TX', 'America/Chicago'),
  ('US-VT', 'America/New_York'), ('US-GA', 'America/New_York'), ('US-ID', 'America/Boise'),
  ('US-MN', 'America/Chicago')) z(region, zone);

-- Scans: one a code, second and place, whatever number of answers showed it. A time ahead of the clock is capped (T9).
create table scans as
with seen as (
  select businessProductId product, tracker_of(carrierCode, trackingNumber) tracker, code,
    coalesce(country || '-' || region, '') region, occurredAt, min(observedAt) observed
  from facts where kind = 'milestone' and mapped is not null group by all)
select product, tracker, code, region,
  secs(case when occurredAt > observed + interval 15 minute then observed else occurredAt end) at_s,
  list_position(['PENDING', 'INFO_RECEIVED', 'IN_TRANSIT', 'OUT_FOR_DELIVERY', 'AVAILABLE_FOR_PICKUP', 'DELAYED',
    'DELIVERY_ATTEMPTED', 'EXCEPTION', 'CUSTOMER_ACTION', 'LOST', 'UNDELIVERABLE', 'RETURN_TO_SENDER', 'DELIVERED'],
    code) rank
from seen;

-- T5: what is ready for pickup after its delivery was handed over; a movement within 72 hours belies the delivery.
delete from scans s where code = 'AVAILABLE_FOR_PICKUP' and exists (from scans d where d.product = s.product
  and d.tracker = s.tracker and d.code = 'DELIVERED' and d.at_s < s.at_s);
alter table scans add column belied boolean;
update scans d set belied = d.code = 'DELIVERED' and exists (from scans s where s.product = d.product
  and s.tracker = d.tracker and s.code in ('IN_TRANSIT', 'OUT_FOR_DELIVERY', 'DELIVERY_ATTEMPTED')
  and s.at_s > d.at_s and s.at_s <= d.at_s + 72 * 3600);

create table trackers as
select product, tracker,
  min_by(region, (at_s, rank)) filter (code in ('IN_TRANSIT', 'OUT_FOR_DELIVERY', 'AVAILABLE_FOR_PICKUP',
    'DELIVERY_ATTEMPTED')) origin,
  max_by(region, (at_s, rank)) filter (not belied and region <> '' and code in ('OUT_FOR_DELIVERY',
    'AVAILABLE_FOR_PICKUP', 'DELIVERY_ATTEMPTED', 'DELIVERED')) arrival,
  max_by(region, (at_s, rank)) filter (region <> '' and code in ('OUT_FOR_DELIVERY', 'AVAILABLE_FOR_PICKUP',
    'DELIVERY_ATTEMPTED', 'DELIVERED')) door,
  min(at_s) filter (code in ('IN_TRANSIT', 'OUT_FOR_DELIVERY', 'AVAILABLE_FOR_PICKUP', 'DELIVERY_ATTEMPTED')) first_scan,
  min(at_s) filter (code = 'INFO_RECEIVED') label,
  min(at_s) filter (code = 'OUT_FOR_DELIVERY') out_s,
  min(at_s) filter (code = 'DELIVERY_ATTEMPTED') attempted,
  max(at_s) filter (code = 'DELIVERED' and not belied) delivered,
  max(at_s) filter (code not in ('DELAYED', 'DELIVERY_ATTEMPTED', 'EXCEPTION', 'CUSTOMER_ACTION')) last_scan,
  count(*) filter (code = 'DELIVERY_ATTEMPTED') attempts,
  count(*) scans,
  bool_or(belied) belied,
  bool_or(code = 'EXCEPTION') exception, bool_or(code = 'CUSTOMER_ACTION') customer_action,
  bool_or(code = 'DELAYED') "delayed", bool_or(code = 'LOST') lost, bool_or(code = 'UNDELIVERABLE') undeliverable,
  bool_or(code = 'RETURN_TO_SENDER') returned
from scans group by all;

-- Stages: those that follow each other, and from when to when. Nothing leads off the way back but the loss.
create table visits as
with placed as (
  select *, max(case when code = 'RETURN_TO_SENDER' then 1 else 0 end) over (partition by product, tracker
    order by at_s, rank) back
  from scans where code not in ('DELAYED', 'DELIVERY_ATTEMPTED', 'EXCEPTION', 'CUSTOMER_ACTION')),
staged as (
  select *, case when back = 1 and code <> 'LOST' then 'RETURNING' else code end stage,
    row_number() over (partition by product, tracker order by at_s, rank) n
  from placed),
changes as (
  select *, lag(stage) over (partition by product, tracker order by n) before from staged)
select product, tracker, stage, at_s entered, belied,
  lead(at_s) over w leaves, lead(belied) over w leaves_belied
from changes where before is null or before <> stage
window w as (partition by product, tracker order by n);

-- What events and answers say of deliveries.
create table claims as
select businessProductId product, orderId ord, deliveryId delivery, secs(publishedAt) at_s, false answer, position, 0 part,
  case code when 'PACKAGE_DELIVERY_IN_TRANSIT' then 'IN_TRANSIT' when 'PACKAGE_DELIVERED' then 'DELIVERED'
    else 'CANCELLED' end state, null reason, null tracker, false listed
from facts where kind = 'claim' and code in ('PACKAGE_DELIVERY_IN_TRANSIT', 'PACKAGE_DELIVERED',
  'PACKAGE_DELIVERY_CANCELLED')
union all
select businessProductId, orderId, deliveryId, secs(observedAt), true, position, part, code, reason,
  tracker_of(carrierCode, trackingNumber), shownBy = 'order'
from facts where kind = 'delivery';

create table deliveries as
with told as (
  select product, ord, delivery,
    min(at_s) filter (state = 'IN_TRANSIT' and not answer) ship_event,
    min(at_s) filter (state = 'DELIVERED' and not answer) delivered_event,
    min(at_s) filter (state = 'IN_TRANSIT' and answer) ship_answer,
    min(at_s) filter (state = 'DELIVERED' and answer) delivered_answer,
    bool_or(state in ('IN_TRANSIT', 'DELIVERED')) claimed, bool_or(state = 'DELIVERED') arrived,
    bool_or(state = 'CANCELLED') cancelled,
    max_by(reason, (at_s, position)) filter (state = 'CANCELLED' and answer) reason,
    max((at_s, position)) filter (answer) last_answer, max((at_s, position)) filter (listed) listed,
    max_by(part, (at_s, position)) filter (answer) place, min((at_s, delivery)) filter (not answer) first_event
  from claims group by all),
newest as (select product, ord, max((at_s, position)) answer from claims where listed group by all),
moved as (
  select distinct product, ord, delivery from claims c join trackers t using (product, tracker)
  where t.first_scan is not null or t.delivered is not null),
decided as (
  select told.*, claimed or moved.delivery is not null moving, newest.answer newest
  from told left join moved using (product, ord, delivery) left join newest using (product, ord))
select *,
  case when cancelled and (not moving or (not arrived and reason = 'UNDELIVERABLE')) then 'CANCELLED'
    when arrived then 'DELIVERED' when moving then 'IN_TRANSIT' else 'PENDING' end state,
  row_number() over (partition by product, ord order by (last_answer is null), last_answer desc, place, first_event) nth
from decided
-- A delivery that was only ever waiting, and that the newest answer lists no more, was packed otherwise.
where not (not moving and not cancelled and listed is not null and last_answer < newest);

create table promises as
with windows as (
  select distinct businessProductId product, tracker_of(carrierCode, trackingNumber) tracker, observedAt observed,
    earliest, latest
  from facts where kind = 'estimate'),
shipped as (
  select t.product, t.tracker, coalesce(first_scan, min(ship_event)) at_s
  from trackers t left join (select distinct product, ord, delivery, tracker from claims) using (product, tracker)
    left join deliveries using (product, ord, delivery)
  group by t.product, t.tracker, first_scan),
ranked as (
  select w.*, row_number() over (partition by product, tracker order by secs(observed) < s.at_s, observed) original,
    row_number() over (partition by product, tracker order by observed desc) newest
  from windows w left join shipped s using (product, tracker))
select o.product, o.tracker, o.earliest "from", o.latest "on", n.latest estimated,
  (select count(distinct (l.earliest, l.latest)) from windows l where l.product = o.product and l.tracker = o.tracker
    and l.observed > o.observed and (l.earliest, l.latest) <> (o.earliest, o.latest)) revisions
from ranked o join ranked n using (product, tracker) where o.original = 1 and n.newest = 1;

create table parcels as
with carried as (
  select product, ord, delivery, tracker, max(at_s) shown from claims where tracker is not null group by all),
joined as (
  select d.*, c.tracker, t.* exclude (product, tracker), p.* exclude (product, tracker), coalesce(z.zone, 'UTC') zone,
    split_part(upper(c.tracker), '/', 1) carrier, coalesce(t.arrival, o.destination) destination,
    secs(o.createdAt) ordered
  from deliveries d left join carried c using (product, ord, delivery)
    left join trackers t using (product, tracker) left join promises p using (product, tracker)
    left join orders o on o.businessProductId = d.product and o.id = d.ord 
    left join zones z on z.region = coalesce(t.door, o.destination)),
stood as (
  select j.*, case when state = 'CANCELLED' then
      case when reason <> 'UNDELIVERABLE' or reason is null then 'CANCELLED'
        when v.stage in ('RETURNING', 'LOST') then v.stage else 'UNDELIVERABLE' end
    else coalesce(v.stage, state) end stage
  from joined j left join (select product, tracker, max_by(stage, entered) stage from visits group by all) v
    using (product, tracker)),
timed as (
  select * exclude (delivered, cancelled), stage = 'CANCELLED' cancelled, stage in ('RETURNING', 'RETURNED') back,
    coalesce(first_scan, ship_event, ship_answer, delivered) shipped,
    case when stage = 'DELIVERED' and delivered is not null then delivered
      when state = 'DELIVERED' and not coalesce(belied, false) and not back
        then coalesce(delivered_event, delivered_answer) end delivered,
    stage = 'DELIVERED' and delivered is not null by_scan
  from stood),
dated as (
  select *, local_day(ordered, zone) ordered_on, local_day(shipped, zone) shipped_on,
    local_day(delivered, zone) delivered_on, end_of_day("on", zone) promise_ends,
    four_weekdays_on(ship_event) scan_due
  from timed)
select *, row_number() over (partition by product, ord order by nth, tracker) = 1 of_order,
  row_number() over (partition by product, ord, delivery order by tracker) = 1 of_delivery,
  max(promise_ends) over (partition by product, ord) order_due,
  case when count(*) filter (not cancelled and "on" is not null and delivered is null) over (partition by product, ord)
    = 0 then max(delivered_on - "on") filter (not cancelled) over (partition by product, ord) end order_late,
  coalesce(bool_and(delivered is not null) filter (not cancelled) over (partition by product, ord), false) complete,
  exists (
    select item, i.pieces from items i left join held h using (product, ord, item) left join deliveries e
      on e.product = h.product and e.ord = h.ord and e.delivery = h.delivery and e.state <> 'CANCELLED'
    where i.product = dated.product and i.ord = dated.ord
    group by item, i.pieces
    having coalesce(sum(h.pieces) filter (e.delivery is not null), 0) < i.pieces) short
from dated;

-- How each stands at the time that is asked about: what metrics are made of.
create table judged as
with stood as (
  select p.*, getvariable('now') now, delivered is not null arrived_,
    (shipped is not null or delivered is not null) and not cancelled shipped_,
    delivered is null and p.stage not in ('DELIVERED', 'RETURNED', 'CANCELLED') open,
    "on" is not null and not cancelled promised, v.entered stage_since
  from parcels p left join (select product, tracker, max_by(stage, entered) stage, max(entered) entered
    from visits group by all) v on v.product = p.product and v.tracker = p.tracker and v.stage = p.stage),
timed as (
  select *, promised and promise_ends <= now due,
    promised and coalesce(delivered_on <= "on", false) on_time,
    tracker is not null and ship_event is not null and not cancelled announced,
    coalesce(label, ship_event) handed
  from stood)
select *, due and on_time kept, due and not on_time missed,
  promised and not on_time and (arrived_ or due) late,
  on_time and "on" - delivered_on > 1 early,
  promised and not arrived_ and not due waiting,
  open and not coalesce(estimated > "on", false) on_course,
  due and (on_time or coalesce(attempted < promise_ends, false)) tried_in_time,
  (arrived_ or out_s is not null or attempted is not null) and not cancelled reached,
  arrived_ or coalesce(belied, false) ever_delivered,
  announced and scan_due <= now scan_overdue,
  coalesce(first_scan, delivered) heard,
  of_order and order_due is not null order_promised, of_order and coalesce(order_due <= now, false) order_is_due,
  coalesce(returned, false) or back going_back,
  coalesce(undeliverable, false) or (state = 'CANCELLED' and not cancelled) given_up
from timed;

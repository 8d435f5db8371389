-- What is in each tier, how old is the oldest of it, and what share of today's hits (UTC) came from there?
-- Of the processes that answered something in the last five minutes; a folder or a server they share counts once.
select
    t.tier,
    t.places,
    t.entries,
    t.bytes,
    round(t.oldest_seconds) as oldest_seconds,
    t.hits_today,
    round(100.0 * t.hits_today / nullif(sum(t.hits_today) over (), 0), 1) as hits_today_percent,
    t.served_bytes_today
from public.read_tiers() as t;

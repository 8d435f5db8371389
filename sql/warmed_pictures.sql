-- How many of the pictures that were made by warming were asked for later, and what did the others cost?
-- By day (UTC) of the last 90; money as it was estimated. Each of the pictures: public.warmed_pictures.
select
    (p.warmed_at at time zone 'UTC')::date as day,
    p.kind,
    count(*) as warmed,
    count(*) filter (where p.requests_since > 0) as asked_for,
    round(100.0 * count(*) filter (where p.requests_since > 0) / count(*), 1) as asked_for_percent,
    sum(p.requests_since) as requests_since,
    round(sum(p.estimate_micro_usd) / 1000000.0, 6) as estimated_usd,
    round(sum(p.estimate_micro_usd) filter (where p.requests_since = 0) / 1000000.0, 6) as estimated_usd_unused
from public.warmed_pictures as p
group by 1, 2
order by 1 desc, 2;

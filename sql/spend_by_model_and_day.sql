-- What did each model cost on each day, and what did the cache save? A null is a price nobody knows, not nothing.
-- Spent is what providers reported, and for `estimated` submits, whose bill is not known, what they cost at most.
-- `unpriced` submits have no price at all: they are in no sum.
with facts as (
    select
        (s.sent_at at time zone 'UTC')::date as day,
        s.provider,
        s.model,
        0 as requests,
        1 as submits,
        (s.cost_micro_usd is null and s.estimate_micro_usd is not null)::integer as estimated,
        (s.cost_micro_usd is null and s.estimate_micro_usd is null)::integer as unpriced,
        coalesce(s.cost_micro_usd, s.estimate_micro_usd) as spent_micro_usd,
        0 as saved_micro_usd
    from copperplate.submits as s
    union all
    select
        r.day,
        r.provider,
        r.model,
        r.requests,
        0 as submits,
        0 as estimated,
        0 as unpriced,
        null as spent_micro_usd,
        r.saved_micro_usd
    from copperplate.usage_rollups as r
)

select
    f.day,
    f.provider,
    f.model,
    sum(f.requests) as requests,
    sum(f.submits) as submits,
    sum(f.estimated) as estimated,
    sum(f.unpriced) as unpriced,
    case when sum(f.submits) = 0 then 0 else round(sum(f.spent_micro_usd) / 1000000.0, 4) end as spent_usd,
    round(sum(f.saved_micro_usd) / 1000000.0, 4) as saved_usd
from facts as f
group by f.day, f.provider, f.model
order by f.day desc, spent_usd desc nulls first, f.provider asc, f.model asc
limit 100;

-- What did each model cost on each day, and what did the cache save? A null is a price nobody knows, not nothing.
-- Spent is what providers reported, and for `estimated` submits, whose bill is not known, what they cost at most.
-- `unpriced` submits have no price at all: they are in no sum. Saved is by the day on which a picture was served.
with facts as (
    select
        m.day,
        m.provider,
        m.model,
        0 as requests,
        m.submits,
        m.estimated,
        m.unpriced,
        m.spent_micro_usd,
        m.saved,
        m.unpriced_saved,
        m.saved_micro_usd
    from copperplate.money_totals as m
    union all
    select
        r.day,
        r.provider,
        r.model,
        r.requests,
        0 as submits,
        0 as estimated,
        0 as unpriced,
        0 as spent_micro_usd,
        0 as saved,
        0 as unpriced_saved,
        0 as saved_micro_usd
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
    case
        when sum(f.submits) = sum(f.unpriced) and sum(f.submits) > 0 then null
        else round(sum(f.spent_micro_usd) / 1000000.0, 6)
    end as spent_usd,
    case
        when sum(f.saved) = sum(f.unpriced_saved) and sum(f.saved) > 0 then null
        else round(sum(f.saved_micro_usd) / 1000000.0, 6)
    end as saved_usd
from facts as f
group by f.day, f.provider, f.model
order by f.day desc, spent_usd desc nulls first, f.provider asc, f.model asc
limit 100;

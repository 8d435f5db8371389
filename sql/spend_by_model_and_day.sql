-- What did each model cost on each day, and what did the cache save? A null is a price nobody knows, not nothing.
select
    r.day,
    r.provider,
    r.model,
    sum(r.requests) as requests,
    coalesce(sum(r.requests) filter (where r.outcome = 'generated'), 0) as generated,
    case
        when
            sum(r.cost_micro_usd) = 0 and r.provider <> 'painter'
            and sum(r.requests) filter (where r.outcome = 'generated') > 0
            then null
        else round(sum(r.cost_micro_usd) / 1000000.0, 4)
    end as spent_usd,
    round(sum(r.saved_micro_usd) / 1000000.0, 4) as saved_usd
from copperplate.usage_rollups as r
group by r.day, r.provider, r.model
order by r.day desc, spent_usd desc nulls first
limit 100;

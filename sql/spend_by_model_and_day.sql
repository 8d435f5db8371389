-- What did each model cost on each day, and what did the cache save?
select
    r.day,
    r.provider,
    r.model,
    sum(r.requests) as requests,
    coalesce(sum(r.requests) filter (where r.outcome = 'generated'), 0) as generated,
    round(sum(r.cost_micro_usd) / 1000000.0, 4) as spent_usd,
    round(sum(r.saved_micro_usd) / 1000000.0, 4) as saved_usd
from copperplate.usage_rollups as r
group by r.day, r.provider, r.model
order by r.day desc, spent_usd desc
limit 100;

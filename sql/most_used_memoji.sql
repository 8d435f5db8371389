-- Which memoji are used most, and what did each cost? A null is a price nobody knows; archived ones are kept for good.
select
    m.prompt_hash,
    m.configuration,
    m.model,
    m.usage_count,
    m.last_used_at,
    m.generation_cost,
    m.archived_at
from public.memoji_cache as m
order by m.usage_count desc, m.prompt_hash asc
limit 20;

-- What was done to pictures that were brought, how often was it used, and what did it cost in dollars? Null: not known.
select
    p.operation,
    p.model,
    count(*) as results,
    count(distinct p.image_hash) as uploads,
    sum(p.access_count) as uses,
    sum(p.file_size) as bytes,
    sum(p.generation_cost) as cost,
    max(p.timestamp) as newest
from public.processed_image_cache as p
group by p.operation, p.model
order by p.operation, p.model;

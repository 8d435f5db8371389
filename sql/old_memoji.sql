-- Which memoji does the next cleanup remove? Those made 90 days ago and used less than twice; archived ones stay.
select
    m.prompt_hash,
    m.configuration,
    m.model,
    m.usage_count,
    m.created_at,
    m.file_size
from public.memoji_cache as m
-- What was used more than 100 times is archived first, by the same cleanup.
where m.archived_at is null and m.created_at < now() - interval '90 days' and m.usage_count < 2
order by m.created_at;

-- Which memoji does the next cleanup remove? Those made 90 days ago, used less than twice, not archived, not pinned.
select
    m.prompt_hash,
    m.configuration,
    m.model,
    m.usage_count,
    m.created_at,
    m.file_size
from public.memoji_cache as m
inner join public.generation_status as g on m.prompt_hash = g.prompt_hash
-- What was used more than 100 times is archived first, by the same cleanup.
where
    m.archived_at is null and g.pinned_at is null and m.created_at < now() - interval '90 days' and m.usage_count < 2
order by m.created_at;

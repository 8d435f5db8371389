-- Which pictures are taken down, and which are pinned?
select
    'taken down' as what,
    t.generation_key,
    -- Where a picture was named: its own key.
    nullif(t.asked_key, t.generation_key) as asked_key,
    null as prompt,
    t.reason,
    t.created_at as since
from copperplate.takedowns as t
union all
select
    'pinned' as what,
    g.prompt_hash as generation_key,
    null as asked_key,
    g.prompt,
    null as reason,
    g.pinned_at as since
from public.generation_status as g
where g.pinned_at is not null
order by what, since;

-- What does a key stand for? Put yours in the next line: a prompt_hash of either table.
with asked as (select '3ed7e497928c80824cc3ff3ce48549c26f75c151f10b38b639293a284ffb24c3'::text as key),

generation as (
    select g.*
    from asked as a
    left join copperplate.cache_entries as e on a.key = e.key
    inner join public.generation_status as g on coalesce(e.generation_key, a.key) = g.prompt_hash
)

select
    'generation key' as what,
    g.prompt_hash as value
from generation as g
union all
select
    'is the key of its recipe' as what,
    (public.cache_key(g.recipe) = g.prompt_hash)::text as value
from generation as g
union all
select
    'recipe: ' || r.name as what,
    r.value
from generation as g
cross join lateral jsonb_each_text(g.recipe) as r (name, value)
union all
select
    'status' as what,
    concat_ws(', ', g.status, g.error_class, g.error_message) as value
from generation as g
union all
select
    case when e.is_original then 'original' else 'picture' end || ' (' || e.format || ')' as what,
    format('%s, %s bytes, served %s times, %s', e.key, e.file_size, e.access_count, e.path) as value
from generation as g
inner join copperplate.cache_entries as e on g.prompt_hash = e.generation_key
order by 1;

-- Images as people know them: one row per prompt, size and format. Thin forms of what every kind has.
create function copperplate.payer_of(p_generation_key text)
returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return coalesce(
        (
            -- Settled by the completion of this picture, not of one that was removed before.
            select 'user:' || a.user_id
            from public.generation_status as g
            inner join copperplate.reservations as r on g.prompt_hash = r.generation_key and g.completed_at <= r.closed_at
            inner join copperplate.accounts as a on r.account_id = a.id
            where g.prompt_hash = p_generation_key and r.state = 'settled'
        ),
        (
            select substring(n.name from '^(?:prepaid/)?((?:user|key):.*)$')
            from (
                select s.budgets
                from copperplate.submits as s
                where s.generation_key = p_generation_key
                order by s.id desc
                limit 1
            ) as m
            cross join lateral unnest(m.budgets) as n (name)
            where n.name ~ '^(prepaid/)?(user|key):'
        )
    );
end;
$$;

comment on function copperplate.payer_of(text) is
'Who paid for a picture, as user:<id> or key:<id>: the account that was charged, else what the book says of the submit
that made it. Null where that was a stranger, a user who was forgotten, or nobody.';
revoke all on function copperplate.payer_of(text) from public, anon, authenticated;
grant execute on function copperplate.payer_of(text) to service_role;

create view public.image_cache
with (security_invoker = true)
as
select
    e.key as prompt_hash,
    e.generation_key as generation_hash,
    g.prompt,
    g.dimensions,
    e.format,
    g.model,
    e.access_count + coalesce(f.access_count, 0) as access_count,
    e.created_at,
    greatest(e.last_accessed_at, f.last_accessed_at) as last_accessed_at,
    e.file_size,
    e.path as object_path,
    e.digest,
    o.generation_ms,
    copperplate.payer_of(e.generation_key) as payer,
    o.file_size as original_file_size,
    (
        select w.file_size
        from copperplate.cache_entries as w
        where w.generation_key = e.generation_key and w.format = 'webp' and w.is_shown
    ) as webp_file_size,
    o.has_c2pa,
    e.thumbhash,
    e.color
from copperplate.shown_entries as e
inner join public.generation_status as g on e.generation_key = g.prompt_hash
left join copperplate.cache_entries as o on e.generation_key = o.generation_key and o.is_original
left join lateral (
    select
        sum(r.access_count)::bigint as access_count,
        max(r.last_accessed_at) filter (where r.access_count > 0) as last_accessed_at
    from copperplate.cache_entries as r
    where r.generation_key = e.generation_key and r.format = e.format and not r.is_shown and not r.is_original
) as f on true
where e.kind = 'image';

comment on view public.image_cache is
'Cached pictures, one row per prompt, size and format; the uses of its other sizes and qualities are counted on it.
Deleting a row declares the picture wrong: its generation, every form of it and its original go.';

revoke all on table public.image_cache from public, anon, authenticated, service_role;
grant select, delete on table public.image_cache to service_role;

create function copperplate.delete_picture()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    -- The row goes, and with it every lease on it: the next holder's fence is higher whatever happens.
    -- A view names its generation's key generation_hash, unless that is the key people know.
    delete from public.generation_status as g
    where g.prompt_hash = coalesce(to_jsonb(old) ->> 'generation_hash', to_jsonb(old) ->> 'prompt_hash');
    return old;
end;
$$;

comment on function copperplate.delete_picture() is 'Makes DELETE through a view remove the whole generation.';
revoke all on function copperplate.delete_picture() from public, anon, authenticated;
grant execute on function copperplate.delete_picture() to service_role;

create trigger image_cache_delete
instead of delete on public.image_cache
for each row execute function copperplate.delete_picture();

create function public.cleanup_old_cache_entries(
    p_older_than interval default '30 days', p_limit integer default 1000, p_after text default null
)
returns jsonb
language sql
volatile
security invoker
set search_path = ''
as $$
    select jsonb_build_object('images', c.counts -> 'pictures') || (c.counts - array['pictures', 'archived'])
    from public.cleanup_entries('image', p_limit, p_after, p_older_than) as c (counts);
$$;

comment on function public.cleanup_old_cache_entries(interval, integer, text) is
'Remove cached pictures not served for p_older_than (30 days); at most p_limit generations a call; answers counts: rows
of image_cache as images, bytes of all forms. Call it again while bytes are more than zero. With p_after, empty at first,
it looks at p_limit entries from there on and answers where it has come to as reached, null at the end.';
revoke all on function public.cleanup_old_cache_entries(interval, integer, text) from public, anon, authenticated;
grant execute on function public.cleanup_old_cache_entries(interval, integer, text) to service_role;

create function public.count_old_cache_entries(p_older_than interval default '30 days')
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object('images', c.counts -> 'pictures') || (c.counts - array['pictures', 'archived'])
    from public.count_old_entries('image', p_older_than) as c (counts);
$$;

comment on function public.count_old_cache_entries(interval) is
'What cleanup_old_cache_entries would remove by and by, as the same counts; changes nothing.';
revoke all on function public.count_old_cache_entries(interval) from public, anon, authenticated;
grant execute on function public.count_old_cache_entries(interval) to service_role;

create function public.get_cache_stats()
returns table (
    total_cached_images bigint,
    total_access_count bigint,
    avg_access_count numeric,
    total_size_bytes bigint,
    total_stored_bytes bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    select t.pictures, t.accesses, t.avg_accesses, t.size_bytes, t.stored_bytes
    from copperplate.sum_totals('image') as t;
$$;

comment on function public.get_cache_stats() is
'One row: cached images, how often they were served, and their bytes; stored bytes include originals.';
revoke all on function public.get_cache_stats() from public, anon, authenticated;
grant execute on function public.get_cache_stats() to service_role, anon, authenticated;

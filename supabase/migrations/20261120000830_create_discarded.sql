-- Objects that leave the store.

create function public.claim_discarded(p_limit integer default 100, p_grace interval default '1 hour')
returns table (id bigint, bucket text, path text)
language sql
volatile
security invoker
set search_path = ''
as $$
    update copperplate.discarded_objects as d
    set claimed_until = copperplate.clock() + interval '5 minutes'
    where d.id in (
        select o.id
        from copperplate.discarded_objects as o
        where
            o.discarded_at < copperplate.clock() - p_grace
            and (o.claimed_until is null or o.claimed_until < copperplate.clock())
            -- Never an object that a row needs after all. Row by row, not "not exists": once the planner takes a table
            -- for empty it would read all of it first, and a large cleanup leaves it far from empty on disk.
            and not coalesce((
                select true from copperplate.cache_entries as e
                where e.bucket = o.bucket and e.path = o.path
                limit 1
            ), false)
            and not coalesce((
                select true from public.generation_status as g
                where g.prompt_hash = o.generation_key and g.intent ->> 'path' = o.path
                limit 1
            ), false)
        order by o.id
        limit p_limit
        for update skip locked
    )
    returning d.id, d.bucket, d.path;
$$;

comment on function public.claim_discarded(integer, interval) is
'Reserve objects whose grace is over for five minutes, to remove them from the store and then forget them.';
revoke all on function public.claim_discarded(integer, interval) from public, anon, authenticated;
grant execute on function public.claim_discarded(integer, interval) to service_role;

create function public.forget_discarded(p_ids bigint[])
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_forgotten integer;
begin
    delete from copperplate.discarded_objects as d where d.id = any(p_ids);
    get diagnostics v_forgotten = row_count;
    return v_forgotten;
end;
$$;

comment on function public.forget_discarded(bigint[]) is
'The store has removed these objects; answers how many rows went.';
revoke all on function public.forget_discarded(bigint[]) from public, anon, authenticated;
grant execute on function public.forget_discarded(bigint[]) to service_role;

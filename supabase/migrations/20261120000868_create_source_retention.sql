-- How long source pictures are known, and who had their bytes.

create function copperplate.forget_old_sources(p_cutoff timestamptz, p_limit integer)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- A wish waits for a day at most, and needs the row of its source.
    v_cutoff timestamptz := least(p_cutoff, copperplate.clock() - interval '2 days');
    v_keys text[];
    v_used text[];
begin
    v_keys := array(
        select s.digest
        from copperplate.source_pictures as s
        where s.last_used_at < v_cutoff
        order by s.last_used_at
        limit p_limit
        for update skip locked
    );
    v_used := array(
        select k.digest
        from unnest(v_keys) as k (digest)
        where exists (
            select from public.generation_status as g
            where g.kind = 'processed' and g.recipe ->> 'source' = k.digest
        )
        -- Lineage goes through it, also where the generation between grew old.
        or exists (select from copperplate.source_pictures as s where s.parent_source = k.digest)
    );
    delete from copperplate.source_pictures as s where s.digest = any(v_keys) and s.digest <> all(v_used);
    -- It was used when its results were. They are not looked at again before those are old.
    update copperplate.source_pictures as s
    set last_used_at = coalesce(
        (
            select max(e.last_accessed_at)
            from public.generation_status as g
            inner join copperplate.cache_entries as e on g.prompt_hash = e.generation_key
            where
                g.kind = 'processed' and g.recipe ->> 'source' = s.digest
                and e.last_accessed_at > v_cutoff
        ),
        copperplate.clock()
    )
    where s.digest = any(v_used);
    return cardinality(v_keys);
end;
$$;

comment on function copperplate.forget_old_sources(timestamptz, integer) is
'Forget source pictures of which nothing is made, and that were not used since p_cutoff, two days ago at least. At most
p_limit are looked at; answers how many were.';
revoke all on function copperplate.forget_old_sources(timestamptz, integer) from public, anon, authenticated;
grant execute on function copperplate.forget_old_sources(timestamptz, integer) to service_role;

create function copperplate.forget_sources_of(p_user uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_owner text := 'user:' || p_user;
begin
    -- A cleanup passes over them: it and this would wait for each other's rows.
    perform
    from copperplate.source_pictures as s
    where s.digest in (select o.digest from copperplate.source_owners as o where o.owner = v_owner)
    order by s.digest
    for key share;
    delete from copperplate.source_owners as o where o.owner = v_owner;
end;
$$;

comment on function copperplate.forget_sources_of(uuid) is
'Take a user''s name off every source picture whose bytes they had.';
revoke all on function copperplate.forget_sources_of(uuid) from public, anon, authenticated;
grant execute on function copperplate.forget_sources_of(uuid) to service_role;

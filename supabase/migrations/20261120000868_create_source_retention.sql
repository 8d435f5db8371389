-- How long source pictures are known, and who had their bytes.

create function copperplate.lock_old_sources(p_cutoff timestamptz, p_limit integer)
returns text[]
language sql
volatile
security invoker
set search_path = ''
as $$
    select array(
        select s.digest
        from copperplate.source_pictures as s
        where
            s.last_used_at < p_cutoff
            -- Lineage goes through it, also where the generation between grew old: what came of it goes first.
            and not exists (
                select from copperplate.source_pictures as c
                where c.parent_source = s.digest and c.digest <> s.digest and c.last_used_at < p_cutoff
            )
        order by s.last_used_at
        limit p_limit
        for update skip locked
    );
$$;

comment on function copperplate.lock_old_sources(timestamptz, integer) is
'Lock at most p_limit source pictures that were not used since p_cutoff, nothing that came of which is as old.';
revoke all on function copperplate.lock_old_sources(timestamptz, integer) from public, anon, authenticated;
grant execute on function copperplate.lock_old_sources(timestamptz, integer) to service_role;

create function copperplate.source_used_at(p_digest text, p_cutoff timestamptz)
returns timestamptz
language sql
stable
security invoker
set search_path = ''
as $$
    select max(u.used_at)
    from (
        -- What is old, pinned, or being made is looked at again a day later.
        select greatest(e.last_accessed_at, p_cutoff + interval '1 day') as used_at
        from public.generation_status as g
        left join copperplate.cache_entries as e on g.prompt_hash = e.generation_key
        where g.kind = 'processed' and g.recipe ->> 'source' = p_digest
        union all
        select c.last_used_at
        from copperplate.source_pictures as c
        where c.parent_source = p_digest and c.digest <> p_digest
    ) as u;
$$;

comment on function copperplate.source_used_at(text, timestamptz) is
'When what was made of a source picture was last used, results and what came of these; null where there is nothing.';
revoke all on function copperplate.source_used_at(text, timestamptz) from public, anon, authenticated;
grant execute on function copperplate.source_used_at(text, timestamptz) to service_role;

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
    v_looked_at integer := 0;
    v_keys text[];
begin
    while v_looked_at < p_limit loop
        v_keys := copperplate.lock_old_sources(v_cutoff, p_limit - v_looked_at);
        exit when cardinality(v_keys) = 0;
        v_looked_at := v_looked_at + cardinality(v_keys);
        -- It was used when what came of it was, and is not looked at again before that is old.
        update copperplate.source_pictures as s
        set last_used_at = u.used_at
        from unnest(v_keys) as k (digest)
        cross join lateral copperplate.source_used_at(k.digest, v_cutoff) as u (used_at)
        where s.digest = k.digest and u.used_at is not null;
        delete from copperplate.source_pictures as s where s.digest = any(v_keys) and s.last_used_at < v_cutoff;
    end loop;
    return v_looked_at;
end;
$$;

comment on function copperplate.forget_old_sources(timestamptz, integer) is
'Forget source pictures of which nothing is made, and that were not used since p_cutoff, two days ago at least, the last
of a lineage first. At most p_limit are looked at; answers how many were.';
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

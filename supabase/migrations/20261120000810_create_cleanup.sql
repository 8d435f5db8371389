-- Entries that are too old, by the rules of their kind. Bounded, and any number of callers may clean at once.

create function copperplate.archive_entries(p_rules copperplate.kinds, p_limit integer)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_archived bigint;
begin
    if p_rules.archive_above is null then
        return 0;
    end if;
    with much_used as (
        select e.key
        from copperplate.cache_entries as e
        where
            e.kind = p_rules.name and e.is_original = p_rules.is_own_original
            and e.archived_at is null and e.access_count > p_rules.archive_above
        limit p_limit
        for update skip locked
    )

    update copperplate.cache_entries as e
    set archived_at = copperplate.clock()
    from much_used as m
    where e.key = m.key;
    get diagnostics v_archived = row_count;
    return v_archived;
end;
$$;

comment on function copperplate.archive_entries(copperplate.kinds, integer) is
'Archive at most p_limit entries that are used more than the rules ask for; answers how many.';
revoke all on function copperplate.archive_entries(copperplate.kinds, integer) from public, anon, authenticated;
grant execute on function copperplate.archive_entries(copperplate.kinds, integer) to service_role;

-- A place is the time and the key of an entry.
create function copperplate.lock_old_generations(
    p_rules copperplate.kinds,
    p_cutoff timestamptz,
    p_after text,
    p_limit integer,
    out keys text[],
    out reached text
)
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_after timestamptz := coalesce(nullif(split_part(p_after, ' ', 1), '')::timestamptz, '-infinity');
    v_after_key text := coalesce(split_part(p_after, ' ', 2), '');
begin
    -- Old entries that stay come before the oldest that go: a caller that began anew with each call would look at all
    -- of them again and again.
    if p_after is not null then
        reached := (
            select (to_jsonb(e.created_at) #>> '{}') || ' ' || e.key
            from copperplate.cache_entries as e
            where
                e.kind = p_rules.name and e.archived_at is null
                and e.created_at < p_cutoff and (e.created_at, e.key) > (v_after, v_after_key)
            order by e.created_at, e.key
            offset p_limit - 1
            limit 1
        );
    end if;

    -- The step that picks the generations locks them: another cleanup takes other rows, and what somebody works on is
    -- left alone. Originals without renditions age by themselves.
    keys := array(
        select g.prompt_hash
        from (
            select c.*
            from copperplate.cache_entries as c
            where
                c.kind = p_rules.name and c.archived_at is null
                and c.created_at < p_cutoff and (c.created_at, c.key) > (v_after, v_after_key)
            order by c.created_at, c.key
            limit case when p_after is not null then p_limit end
        ) as e
        inner join public.generation_status as g on e.generation_key = g.prompt_hash
        where
            g.pinned_at is null
            and (e.access_count < p_rules.min_uses or (p_rules.min_uses is null and e.last_accessed_at < p_cutoff))
            -- A kind that shows its originals counts uses on them, and their renditions go with them.
            and (e.is_original or not p_rules.is_own_original)
            and (
                not e.is_original
                -- Not "not exists": the planner would hash every rendition there is before the first row.
                or (
                    select r.key
                    from copperplate.cache_entries as r
                    where r.generation_key = e.generation_key and not r.is_original and not p_rules.is_own_original
                    limit 1
                ) is null
            )
        order by e.created_at
        limit p_limit
        for update of g skip locked
    );
end;
$$;

comment on function copperplate.lock_old_generations(copperplate.kinds, timestamptz, text, integer) is
'Lock at most p_limit generations that have an old entry, the oldest first; answers their keys. With p_after, p_limit
entries from that place on are looked at, and reached is where the next call goes on, null at the end.';
revoke all on function copperplate.lock_old_generations(copperplate.kinds, timestamptz, text, integer)
from public, anon, authenticated;
grant execute on function copperplate.lock_old_generations(copperplate.kinds, timestamptz, text, integer)
to service_role;

create function copperplate.remove_old_entries(p_rules copperplate.kinds, p_cutoff timestamptz, p_keys text[])
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_shown bigint := (select count(*) from copperplate.shown_entries as e where e.generation_key = any(p_keys));
    v_bytes bigint;
    v_generations bigint;
begin
    -- What is old is not wrong: its copies in CDNs may stay.
    perform copperplate.set_aging(true);
    with removed as (
        delete from copperplate.cache_entries as e
        where
            e.generation_key = any(p_keys) and not e.is_original
            and e.archived_at is null and e.created_at < p_cutoff
            and (e.access_count < p_rules.min_uses or (p_rules.min_uses is null and e.last_accessed_at < p_cutoff))
        returning e.file_size
    )

    select coalesce(sum(r.file_size), 0) into v_bytes from removed as r;

    -- An original outlives its renditions: it goes with the last of them, and the generation with it.
    with bare as (
        select
            o.generation_key,
            (
                select sum(e.file_size)
                from copperplate.cache_entries as e
                where e.generation_key = o.generation_key
            ) as file_size
        from copperplate.cache_entries as o
        where
            o.generation_key = any(p_keys) and o.is_original
            and o.archived_at is null and o.created_at < p_cutoff
            and (o.access_count < p_rules.min_uses or (p_rules.min_uses is null and o.last_accessed_at < p_cutoff))
            and (
                p_rules.is_own_original
                -- As above, not "not exists".
                or (
                    select r.key
                    from copperplate.cache_entries as r
                    where r.generation_key = o.generation_key and not r.is_original
                    limit 1
                ) is null
            )
    ),

    removed as (
        delete from public.generation_status as g
        using bare as b
        where g.prompt_hash = b.generation_key
        returning b.file_size
    )

    select count(*), v_bytes + coalesce(sum(r.file_size), 0) into v_generations, v_bytes from removed as r;
    perform copperplate.set_aging(false);

    return jsonb_build_object(
        -- As people are shown them: where another form is shown now, the picture is still there.
        'pictures', v_shown - (
            select count(*)
            from copperplate.shown_entries as e
            where e.generation_key = any(p_keys)
        ),
        'generations', v_generations,
        'bytes', v_bytes
    );
end;
$$;

comment on function copperplate.remove_old_entries(copperplate.kinds, timestamptz, text[]) is
'Remove the old entries of these generations, and those generations of which nothing is left; answers counts.';
revoke all on function copperplate.remove_old_entries(copperplate.kinds, timestamptz, text[])
from public, anon, authenticated;
grant execute on function copperplate.remove_old_entries(copperplate.kinds, timestamptz, text[]) to service_role;

create function public.cleanup_entries(
    p_kind text,
    p_limit integer default 1000,
    p_after text default null,
    p_older_than interval default null,
    p_min_uses bigint default null,
    p_archive_above bigint default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_rules copperplate.kinds := copperplate.rules_of(p_kind, p_older_than, p_min_uses, p_archive_above);
    v_cutoff timestamptz := copperplate.clock() - v_rules.retention;
    v_archived bigint;
    v_keys text[];
    v_reached text;
    v_forgotten bigint := 0;
    v_answer jsonb;
begin
    -- First: what is archived is kept for good, whatever else is asked.
    v_archived := copperplate.archive_entries(v_rules, p_limit);
    select l.keys, l.reached
    into v_keys, v_reached
    from copperplate.lock_old_generations(v_rules, v_cutoff, p_after, p_limit) as l;
    v_answer := copperplate.remove_old_entries(v_rules, v_cutoff, v_keys)
        || jsonb_build_object('archived', v_archived);
    if p_kind = 'processed' then
        v_forgotten := copperplate.forget_old_sources(v_cutoff, p_limit);
    end if;
    perform copperplate.forget_invalidations(p_limit);
    if p_after is null then
        return v_answer;
    end if;
    -- While there is more to archive or to forget, the end is not the end: the last page is looked at again.
    return v_answer || jsonb_build_object(
        'reached', coalesce(v_reached, case when p_limit in (v_archived, v_forgotten) then p_after end)
    );
end;
$$;

comment on function public.cleanup_entries(text, integer, text, interval, bigint, bigint) is
'Archive what is much used of a kind and remove what is old, by the rules in copperplate.kinds or those given; at most
p_limit of each a call; answers pictures (as people are shown them), generations, bytes (of all forms), archived. Call
it again while it answers more than zero.
With p_after, empty at first, it looks at p_limit entries from there on and answers where it has come to as reached,
null at the end.';
revoke all on function public.cleanup_entries(text, integer, text, interval, bigint, bigint)
from public, anon, authenticated;
grant execute on function public.cleanup_entries(text, integer, text, interval, bigint, bigint) to service_role;

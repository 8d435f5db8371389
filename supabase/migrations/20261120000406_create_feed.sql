-- How processes read the feed of invalidations. A cursor is a snapshot: which transactions had ended when it was taken.

-- Security definer, with its owner's rights: what may be read of the server depends on the role, and the id must not.
-- It takes nothing and answers a digest.
create function copperplate.database_id()
returns text
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    -- A dump that is restored makes the table anew, on the same server too.
    v_parts text := concat_ws(
        ' ', (select s.database_id from copperplate.feed_states as s),
        (select d.oid from pg_database as d where d.datname = current_database()),
        'copperplate.invalidations'::regclass::oid
    );
begin
    -- Every recovery from an archive and every promotion begins a timeline. A standby has no number of one to tell.
    if not pg_is_in_recovery()
    and has_function_privilege('pg_walfile_name(pg_lsn)', 'execute')
    and has_function_privilege('pg_current_wal_lsn()', 'execute') then
        v_parts := v_parts || ' ' || left(pg_walfile_name(pg_current_wal_lsn()), 8);
    end if;
    if has_function_privilege('pg_control_system()', 'execute') then
        v_parts := v_parts || ' ' || (select c.system_identifier from pg_control_system() as c);
    end if;
    return left(encode(sha256(convert_to(v_parts, 'UTF8')), 'hex'), 32);
end;
$$;

comment on function copperplate.database_id() is
'The id of this database, 32 hexadecimal digits: another one after a restore, a promotion, or raise_fences.';
revoke all on function copperplate.database_id() from public, anon, authenticated;
grant execute on function copperplate.database_id() to service_role;

create function copperplate.covers(p_snapshot pg_snapshot, p_other pg_snapshot)
returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
    select
        pg_snapshot_xmax(p_snapshot) >= pg_snapshot_xmax(p_other)
        and not exists (
            select from pg_snapshot_xip(p_snapshot) as x (running) where pg_visible_in_snapshot(x.running, p_other)
        );
$$;

comment on function copperplate.covers(pg_snapshot, pg_snapshot) is
'Whether a snapshot includes every transaction that another one includes.';
revoke all on function copperplate.covers(pg_snapshot, pg_snapshot) from public, anon, authenticated;
grant execute on function copperplate.covers(pg_snapshot, pg_snapshot) to service_role;

create function copperplate.list_invalidations(p_from xid8, p_since pg_snapshot, p_limit integer)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_agg(jsonb_build_array(n.transaction::text::bigint, n.generation_key, n.tier)), '[]')
    from (
        select i.transaction, i.generation_key, i.tier
        from copperplate.invalidations as i
        where
            i.transaction >= p_from
            -- What was restored from another server may be of its future.
            and i.transaction < pg_snapshot_xmax(pg_current_snapshot())
            and (p_since is null or not pg_visible_in_snapshot(i.transaction, p_since))
        order by i.transaction, i.id
        limit p_limit
    ) as n;
$$;

comment on function copperplate.list_invalidations(xid8, pg_snapshot, integer) is
'Invalidations from a transaction on, without those by transactions that a snapshot includes, as [[transaction,
generation_key, tier]]; p_limit at most.';
revoke all on function copperplate.list_invalidations(xid8, pg_snapshot, integer) from public, anon, authenticated;
grant execute on function copperplate.list_invalidations(xid8, pg_snapshot, integer) to service_role;

create function public.read_feed(p_since text default null, p_database text default null)
returns jsonb
language plpgsql
-- All statements of a stable function see one snapshot: the cursor includes what was answered, and nothing else.
stable
security invoker
set search_path = ''
as $$
declare
    -- Above so many a reader does better to drop all that it has.
    c_most constant integer := 10000;
    -- What a reader without a cursor is told.
    c_newest constant integer := 1000;
    v_now pg_snapshot := pg_current_snapshot();
    v_database text := copperplate.database_id();
    v_since pg_snapshot := case when p_database = v_database then p_since::pg_snapshot end;
    -- One of the future was restored from another server: nothing of this one is in it.
    v_forgotten pg_snapshot := coalesce(
        (
            select case when copperplate.covers(v_now, s.forgotten) then s.forgotten else '1:1:' end
            from copperplate.feed_states as s
        ),
        v_now
    );
    v_invalidations jsonb;
    v_from bigint := 0;
begin
    -- The snapshot of a standby names no running transaction: as a cursor it would include what is not committed yet.
    if pg_is_in_recovery() then
        raise exception 'the feed of invalidations is not read from a standby'
            using errcode = 'ZC015', hint = 'Connect to the primary.';
    end if;
    if copperplate.covers(v_now, v_since) and copperplate.covers(v_since, v_forgotten) then
        v_invalidations := copperplate.list_invalidations(pg_snapshot_xmin(v_since), v_since, c_most + 1);
    end if;
    if v_invalidations is null or jsonb_array_length(v_invalidations) > c_most then
        v_since := null;
        -- Whole transactions: the first that does not fit, and all before it, are left out.
        v_from := (
            select i.transaction::text::bigint + 1
            from copperplate.invalidations as i
            where i.transaction < pg_snapshot_xmax(v_now)
            order by i.transaction desc, i.id desc
            offset c_newest
            limit 1
        );
        v_from := greatest(v_from, pg_snapshot_xmax(v_forgotten)::text::bigint);
        v_invalidations := copperplate.list_invalidations(v_from::text::xid8, null, c_newest);
    end if;
    return jsonb_build_object(
        'database', v_database,
        'cursor', v_now::text,
        'invalidations', v_invalidations,
        'is_continued', v_since is not null,
        'known_from', v_from,
        'due_cdn_scopes', copperplate.due_cdn_scopes()
    );
end;
$$;

comment on function public.read_feed(text, text) is
'The feed of invalidations: which copies of pictures are wrong. p_since and p_database are the cursor and the database
that the last read answered. Answers database; cursor, a pg_snapshot; invalidations, [[transaction, generation_key or
null for all, tier or null for every one]], those by transactions that p_since does not include; is_continued. Where that
is false, because there was no such cursor, or it is of another database or too old, or there is too much, these are the
newest, at most 1,000: all by transactions from known_from on. due_cdn_scopes tells which copies in CDNs wait to be
purged, [tag, object]. A standby refuses it: ZC015.';
revoke all on function public.read_feed(text, text) from public, anon, authenticated;
grant execute on function public.read_feed(text, text) to service_role;
